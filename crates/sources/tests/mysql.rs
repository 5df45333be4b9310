//! MariaDB: what was dumped comes back, row for row; a dump that is not whole is an error.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod suite;

use std::io::Read;
use std::time::Duration;

use model::Secret;
use repository::Cancel;
use repository::backup::Origin;
use sources::into::{Target, Terms};
use sources::{Mysql, MysqlLogin, MysqlOptions};
use suite::{Copy, backup, is_exhaustive};
use testkit::MariaDbServer;

/// Every type, NULLs, bytes of all values, texts that look like dumps, views before their tables, and code.
const SCHEMA: &str = r#"
CREATE DATABASE app CHARACTER SET utf8mb4; USE app;
CREATE TABLE types (id int PRIMARY KEY AUTO_INCREMENT, ti tinyint, bu bigint unsigned, de decimal(40,10), fl float, dbl double,
  bi bit(20), da date, dt datetime(6), ts timestamp(3) NULL, tm time(6), y year, ch char(10), vc varchar(200), bn binary(4),
  vb varbinary(300), bl longblob, tx mediumtext, en enum('a','b''c'), st set('x','y','z'), js json, ge geometry,
  gn int GENERATED ALWAYS AS (ti * 2) STORED, u uuid, ip inet6);
INSERT INTO types (ti,bu,de,fl,dbl,bi,da,dt,ts,tm,y,ch,vc,bn,vb,bl,tx,en,st,js,ge,u,ip) VALUES
 (-128, 18446744073709551615, 123456789012345678901234567890.0123456789, 1.5, 2.2250738585072014e-308, b'10110', '1000-01-01',
  '9999-12-31 23:59:59.999999', '2038-01-19 03:14:07.999', '-838:59:59', 2155, 'größe', 'emoji 😀 it''s "quoted"; (x)', x'00ff00fe',
  x'00', x'000102270a0d1a5c22ff', 'line\n-- Table structure for table `forged`\n--\nDROP TABLE t;\\''', 'b''c', 'x,z',
  '{"a": ["😀", null]}', ST_GeomFromText('POLYGON((0 0,1 0,1 1,0 0))'), '123e4567-e89b-12d3-a456-426655440000', '::ffff:1.2.3.4'),
 (NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL),
 (0,0,0,0,0,0,'0001-01-01','0001-01-01','1970-01-02','0:0',1901,'','','','','','','a','','[]',NULL,NULL,NULL);
CREATE TABLE parent (id int PRIMARY KEY) ENGINE=InnoDB; INSERT INTO parent VALUES (0),(1),(2);
CREATE TABLE child (id int, p int, FOREIGN KEY (p) REFERENCES parent(id)); INSERT INTO child VALUES (1,1),(2,2);
CREATE TABLE `odd-name.with ``tick``` (`select` int, `VALUES (` text); INSERT INTO `odd-name.with ``tick``` VALUES (1, 'VALUES (1),(2)');
CREATE TABLE empty (x int); CREATE TABLE 商品 (名 text); INSERT INTO 商品 VALUES ('りんご'),('梨');
CREATE TABLE isam (x int) ENGINE=MyISAM; INSERT INTO isam VALUES (3),(1),(2);
CREATE SEQUENCE numbers START WITH 7; SELECT NEXTVAL(numbers);
CREATE VIEW a_view AS SELECT id, vc FROM types WHERE id < 3; CREATE VIEW z_view AS SELECT * FROM a_view;
CREATE TABLE log (what text);
DELIMITER //
CREATE TRIGGER child_log AFTER INSERT ON child FOR EACH ROW BEGIN
INSERT INTO `log` VALUES ('-- Table structure for table `x`');
END//
CREATE PROCEDURE add_one(n int) BEGIN
-- Table structure for table `forged`
INSERT INTO `parent` VALUES (n);
END//
CREATE FUNCTION twice(n int) RETURNS int DETERMINISTIC RETURN n * 2//
CREATE EVENT daily ON SCHEDULE EVERY 1 DAY STARTS '2030-01-01' DO DELETE FROM log//
DELIMITER ;
CREATE DATABASE `app-2`; CREATE TABLE `app-2`.t (x int); INSERT INTO `app-2`.t VALUES (1);
CREATE DATABASE nothing_in_it;
"#;

fn filled() -> Option<MariaDbServer> {
    let server = MariaDbServer::start()?;
    server.sql(SCHEMA);
    Some(server)
}

fn login(server: &MariaDbServer) -> MysqlLogin {
    MysqlLogin {
        host: Some("127.0.0.1".to_owned()),
        port: Some(server.server.port()),
        user: Some(MariaDbServer::USER.to_owned()),
        password: Some(Secret::from(MariaDbServer::PASSWORD)),
        programs: Some(server.programs.clone()),
        ..MysqlLogin::default()
    }
}

fn source(server: &MariaDbServer, databases: &[&str], by_table: bool) -> Mysql {
    let databases = databases.iter().map(|name| (*name).to_owned()).collect();
    Mysql::new(MysqlOptions { login: login(server), databases, by_table, with_users: false })
}

fn target(server: &MariaDbServer, database: &str) -> Target {
    let address = format!("mysql://{}@127.0.0.1:{}/{database}", MariaDbServer::USER, server.server.port());
    Target::parse(&address).unwrap().password(Secret::from(MariaDbServer::PASSWORD))
}

fn terms(server: &MariaDbServer) -> Terms {
    Terms { programs: Some(server.programs.clone()), ..Terms::default() }
}

/// Checksums of all tables, definitions of everything else.
fn state(server: &MariaDbServer, database: &str) -> String {
    let list = format!(
        "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = '{database}' AND TABLE_TYPE = 'BASE TABLE' ORDER BY 1"
    );
    let tables = server.sql(&list);
    let mut text = tables.clone();
    for table in tables.lines() {
        let quoted = format!("`{database}`.`{}`", table.replace('`', "``"));
        text += &server
            .sql(&format!("CHECKSUM TABLE {quoted} EXTENDED; SELECT COUNT(*) FROM {quoted}"))
            .replace(database, "DB");
    }
    let rest = format!(
        "SELECT TABLE_NAME, REPLACE(VIEW_DEFINITION, '{database}', 'DB') FROM information_schema.VIEWS WHERE TABLE_SCHEMA = '{database}' ORDER BY 1;
         SELECT ROUTINE_NAME, ROUTINE_DEFINITION FROM information_schema.ROUTINES WHERE ROUTINE_SCHEMA = '{database}' ORDER BY 1;
         SELECT TRIGGER_NAME, ACTION_STATEMENT FROM information_schema.TRIGGERS WHERE TRIGGER_SCHEMA = '{database}' ORDER BY 1;
         SELECT EVENT_NAME, EVENT_DEFINITION, STARTS, INTERVAL_VALUE FROM information_schema.EVENTS WHERE EVENT_SCHEMA = '{database}' ORDER BY 1"
    );
    text + &server.sql(&rest)
}

#[test]
fn a_server_comes_back_with_all_that_was_in_it() {
    let (Some(server), Some(other)) = (filled(), MariaDbServer::start()) else { return };
    for by_table in [false, true] {
        let source = source(&server, &[], by_table);
        let copy = backup(&source).unwrap();
        let rows = &copy.manifest.counts["app"];
        assert_eq!(
            (rows["types"], rows["empty"], rows["商品"], rows["odd-name.with `tick`"], rows["log"]),
            (3, 0, 2, 1, 0)
        );
        assert_eq!(copy.manifest.counts["app-2"]["t"], 1);
        assert!(copy.manifest.counts["nothing_in_it"].is_empty());
        assert!(copy.manifest.server.as_ref().unwrap().contains("MariaDB"));
        // The same database again gives the same bytes.
        assert!(backup(&source).unwrap() == copy);

        let restored = target(&other, "").restore(&copy.manifest, &copy, &terms(&other)).unwrap();
        assert_eq!(restored, copy.manifest.counts);
        for database in ["app", "app-2"] {
            assert_eq!(state(&other, database), state(&server, database), "by table: {by_table}");
        }
        assert_eq!(other.sql("SELECT NEXTVAL(app.numbers) >= 8, app.twice(4)"), "1\t8\n");
        let error = target(&other, "").restore(&copy.manifest, &copy, &terms(&other)).unwrap_err();
        assert!(error.to_string().contains("`app`: it is not empty: it has"), "{error}");
        let over = Terms { into_non_empty: true, ..terms(&other) };
        target(&other, "").restore(&copy.manifest, &copy, &over).unwrap();
        other.sql("DROP DATABASE app; DROP DATABASE `app-2`; DROP DATABASE nothing_in_it");
    }
}

#[test]
fn one_database_goes_into_another() {
    let Some(server) = filled() else { return };
    for by_table in [false, true] {
        let copy = backup(&source(&server, &["app"], by_table)).unwrap();
        target(&server, "drill").restore(&copy.manifest, &copy, &terms(&server)).unwrap();
        assert_eq!(state(&server, "drill"), state(&server, "app"));
        server.sql("DROP DATABASE drill");
    }
    let both = backup(&source(&server, &["app", "app-2"], false)).unwrap();
    let error = target(&server, "drill").restore(&both.manifest, &both, &terms(&server)).unwrap_err();
    assert!(error.to_string().contains("cannot all go into one"), "{error}");
}

#[test]
fn a_file_for_each_table_is_the_same_dump_and_spares_the_tables_that_did_not_change() {
    let Some(server) = filled() else { return };
    let whole = backup(&source(&server, &["app", "app-2"], false)).unwrap();
    let tables = source(&server, &["app", "app-2"], true);
    let before = backup(&tables).unwrap();
    let joined: Vec<u8> = before.files.values().flatten().copied().collect();
    assert!(joined == whole.files["databases.sql"]);
    assert_eq!(before.manifest.counts, whole.manifest.counts);
    let file = |copy: &Copy, name: &str| String::from_utf8_lossy(&copy.files[name]).into_owned();
    let child = file(&before, "1.app.1.child");
    assert!(child.starts_with("--\n-- Table structure for table `child`\n") && child.contains("TRIGGER child_log"));
    assert!(!child.contains("`empty`") && file(&before, "1.app.3.routines.sql").contains("twice"));
    assert!(file(&before, "2.app.views.sql").contains("VIEW `z_view`"));

    server.sql("INSERT INTO app.empty VALUES (1)");
    let after = backup(&tables).unwrap();
    let changed: Vec<&String> = after.files.keys().filter(|name| after.files[*name] != before.files[*name]).collect();
    assert_eq!(changed, ["1.app.1.empty"]);
}

#[test]
fn accounts_come_back() {
    let (Some(server), Some(other)) = (MariaDbServer::start(), MariaDbServer::start()) else { return };
    server.sql("CREATE DATABASE app; CREATE TABLE app.t (x int); CREATE USER alice@'%' IDENTIFIED BY 'x'; GRANT SELECT ON app.* TO alice@'%'");
    let options = MysqlOptions { login: login(&server), with_users: true, ..MysqlOptions::default() };
    let copy = backup(&Mysql::new(options)).unwrap();
    target(&other, "").restore(&copy.manifest, &copy, &terms(&other)).unwrap();
    assert_eq!(other.sql("SHOW GRANTS FOR alice@'%'"), server.sql("SHOW GRANTS FOR alice@'%'"));
}

#[test]
fn errors_name_the_source_and_show_no_secret() {
    let Some(server) = filled() else { return };
    let mut wrong = login(&server);
    wrong.password = Some(Secret::from("wr0ng-secret"));
    let wrong = Mysql::new(MysqlOptions { login: wrong, ..MysqlOptions::default() });
    let error = backup(&wrong).unwrap_err().to_string();
    assert!(error.contains("Access denied for user 'backup'") && !error.contains("wr0ng"), "{error}");
    assert_eq!(wrong.place(), format!("mysql://backup@127.0.0.1:{}", server.server.port()));
    assert!(!format!("{wrong:?}").contains("wr0ng"));

    let error = backup(&source(&server, &["app", "missing"], false)).unwrap_err().to_string();
    assert_eq!(error, "dump `missing`: the server has no such database, or does not show it to this user");

    let mut nowhere = login(&server);
    nowhere.programs = Some("/nowhere".into());
    let error =
        backup(&Mysql::new(MysqlOptions { login: nowhere, ..MysqlOptions::default() })).unwrap_err().to_string();
    assert!(error.contains("`mariadb` or `mysql` is not in `/nowhere`"), "{error}");

    // A view of a table that is gone makes the tool fail behind most of its output.
    server.sql("DROP TABLE app.types");
    for by_table in [false, true] {
        let error = backup(&source(&server, &["app"], by_table)).unwrap_err().to_string();
        assert!(error.contains("`mariadb-dump` ended with code 2") && error.contains("a_view"), "{error}");
    }
}

#[test]
fn a_dump_that_ends_early_is_an_error() {
    let Some(mut server) = MariaDbServer::start() else { return };
    // What is there has to be there after a crash.
    server.sql("SET GLOBAL innodb_flush_log_at_trx_commit = 1");
    server.sql("CREATE DATABASE app; USE app; CREATE TABLE many (id int PRIMARY KEY, t text)");
    server.sql("USE app; INSERT INTO many SELECT seq, REPEAT('x', 500) FROM seq_1_to_40000");
    for by_table in [false, true] {
        let source = source(&server, &[], by_table);
        let entries = source.list(b"", &Cancel::new()).unwrap();
        let entry = entries
            .iter()
            .find(|entry| [&b"databases.sql"[..], b"1.app.1.many"].contains(&entry.name.as_slice()))
            .unwrap();
        let mut reader = source.open(&entry.name, entry, &Cancel::new()).unwrap();
        let mut first = vec![0; 1 << 20];
        reader.read_exact(&mut first).unwrap();
        server.server.kill().unwrap();
        let error = std::io::copy(&mut reader, &mut std::io::sink()).unwrap_err().to_string();
        assert!(error.contains("mariadb-dump` ended with code"), "{error}");
        assert!(by_table || source.manifest().is_ok());
        server.server.start_again().unwrap();
    }
}

#[test]
fn a_server_that_stops_answering_is_not_waited_for_for_ever() {
    let Some(server) = MariaDbServer::start() else { return };
    server.sql("CREATE DATABASE app; USE app; CREATE TABLE many (id int PRIMARY KEY, t text)");
    server.sql("USE app; INSERT INTO many SELECT seq, REPEAT('x', 500) FROM seq_1_to_40000");
    let source = source(&server, &[], false).silence_limit(Duration::from_secs(1));
    let entry = source.list(b"", &Cancel::new()).unwrap().remove(0);
    let mut reader = source.open(&entry.name, &entry, &Cancel::new()).unwrap();
    reader.read_exact(&mut vec![0; 1 << 20]).unwrap();
    server.server.freeze();
    let error = std::io::copy(&mut reader, &mut std::io::sink()).unwrap_err().to_string();
    server.server.thaw();
    assert!(error.contains("`mariadb-dump` wrote nothing for 1 s and was killed"), "{error}");
}

#[test]
fn rows_by_the_hundred_thousand_come_back() {
    let Some(server) = MariaDbServer::start() else { return };
    let rows = if is_exhaustive() { 1_200_000 } else { 60_000 };
    server.sql("CREATE DATABASE app CHARACTER SET utf8mb4; USE app; CREATE TABLE many (id bigint PRIMARY KEY, t text, b blob, d double)");
    server.sql(&format!("USE app; INSERT INTO many SELECT seq, CONCAT('row 😀 ', seq, ''';\\n'), UNHEX(SHA2(seq, 256)), seq / 7 FROM seq_1_to_{rows}"));
    let copy = backup(&source(&server, &["app"], true)).unwrap();
    assert_eq!(copy.manifest.counts["app"]["many"], rows);
    target(&server, "drill").restore(&copy.manifest, &copy, &terms(&server)).unwrap();
    assert_eq!(state(&server, "drill"), state(&server, "app"));
    println!("{rows} rows, {} bytes", copy.files.values().map(Vec::len).sum::<usize>());
}
