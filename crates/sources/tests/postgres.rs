//! PostgreSQL: what was dumped comes back, row for row; a dump that is not whole is an error.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod suite;

use std::io::Read;

use model::Secret;
use repository::Cancel;
use repository::backup::Origin;
use sources::into::{Target, Terms};
use sources::{Postgres, PostgresLogin, PostgresOptions};
use suite::{backup, is_exhaustive};
use testkit::PostgresServer;

/// Types, NULLs, bytes of all values, texts that look like dumps, partitions, heirs, large objects and code.
const SCHEMA: &str = r#"
CREATE ROLE alice LOGIN PASSWORD 'x'; CREATE SCHEMA "odd.Schema" AUTHORIZATION alice;
CREATE TYPE mood AS ENUM ('sad', 'it''s ok'); CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE TABLE types (id bigserial PRIMARY KEY, b bool, i int, n numeric(60,20), d double precision, t text, v varchar(40), y bytea,
  ts timestamptz, iv interval, j jsonb, a int[], m mood, p positive, ip inet, u uuid, x xml, r int4range, g int GENERATED ALWAYS AS (i / 2) STORED);
INSERT INTO types (b,i,n,d,t,v,y,ts,iv,j,a,m,p,ip,u,x,r) VALUES
 (true, -2147483648, 1234567890123456789012345678901234567890.12345678901234567890, 'NaN', E'emoji 😀\n\\.\n-- Data for Name: forged; Type: TABLE DATA\nCOPY public.x FROM stdin;\n',
  'größe', '\x00ff0a5c2e', '9999-12-31 23:59:59.999999+00', '1 year 2 days', '{"a": ["😀", null]}', '{1,NULL,3}', 'it''s ok', 1, '::1',
  '123e4567-e89b-12d3-a456-426655440000', '<a>&amp;</a>', '[1,5)'),
 (NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL,NULL),
 (false, 0, 0, '-Infinity', '', '', '', '-infinity', '0', '[]', '{}', 'sad', 7, '10.0.0.0/8', NULL, NULL, 'empty');
CREATE TABLE "odd.Schema"."say ""hi"".x" ("select" int, "a b" text); INSERT INTO "odd.Schema"."say ""hi"".x" VALUES (1, E'\\.'), (2, NULL);
CREATE TABLE empty (x int); CREATE TABLE "商品" ("名" text); INSERT INTO "商品" VALUES ('りんご'), ('梨');
CREATE TABLE parted (k int) PARTITION BY LIST (k); CREATE TABLE part_1 PARTITION OF parted FOR VALUES IN (1);
CREATE TABLE part_2 PARTITION OF parted FOR VALUES IN (2); INSERT INTO parted VALUES (1), (1), (2);
CREATE TABLE base (x int); CREATE TABLE heir (y int) INHERITS (base); INSERT INTO base VALUES (1); INSERT INTO heir VALUES (2, 2), (3, 3);
CREATE VIEW seen AS SELECT id, t FROM types; CREATE MATERIALIZED VIEW kept AS SELECT count(*) AS c FROM types;
CREATE FUNCTION twice(n int) RETURNS int LANGUAGE sql AS $$ SELECT n * 2 $$;
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
INSERT INTO empty VALUES (1); RETURN NEW; END $$;
CREATE TRIGGER noted AFTER INSERT ON base FOR EACH ROW EXECUTE FUNCTION note();
CREATE SEQUENCE numbers START 7; SELECT nextval('numbers');
SELECT lo_from_bytea(4711, decode(repeat('00ff5c2e0a', 2000), 'hex'));
GRANT SELECT ON types TO alice; CREATE INDEX ON types USING gin (j);
"#;

fn filled() -> Option<PostgresServer> {
    let server = PostgresServer::start()?;
    for database in ["app", "\"App 2\""] {
        server.sql("postgres", &format!("CREATE DATABASE {database}"));
    }
    server.sql("app", SCHEMA);
    server.sql("App 2", "CREATE TABLE t AS SELECT 1 AS x");
    Some(server)
}

fn login(server: &PostgresServer) -> PostgresLogin {
    PostgresLogin {
        host: Some("127.0.0.1".to_owned()),
        port: Some(server.server.port()),
        user: Some(PostgresServer::USER.to_owned()),
        password: Some(Secret::from(PostgresServer::PASSWORD)),
        ca_certificate: None,
        programs: Some(server.programs.clone()),
    }
}

fn source(server: &PostgresServer, databases: &[&str], plain: bool) -> Postgres {
    let databases: Vec<String> = databases.iter().map(|name| (*name).to_owned()).collect();
    let without_globals = !databases.is_empty();
    Postgres::new(PostgresOptions { login: login(server), databases, plain, without_globals })
}

fn target(server: &PostgresServer, database: &str) -> Target {
    let address = format!("postgres://{}@127.0.0.1:{}/{database}", PostgresServer::USER, server.server.port());
    Target::parse(&address).unwrap().password(Secret::from(PostgresServer::PASSWORD))
}

fn terms(server: &PostgresServer) -> Terms {
    Terms { programs: Some(server.programs.clone()), ..Terms::default() }
}

/// Checksums of all tables, definitions of everything else.
fn state(server: &PostgresServer, database: &str) -> String {
    let list =
        "SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'm') AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') ORDER BY 1";
    let tables = server.sql(database, list);
    let sums: Vec<String> = tables
        .lines()
        .map(|table| {
            format!(
                "SELECT '{table}', count(*), md5(string_agg(t::text, E'\\n' ORDER BY t::text)) FROM ONLY {table} t;"
            )
        })
        .collect();
    let rest = "SELECT p.proname, p.prosrc FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE n.nspname = 'public' ORDER BY 1;
        SELECT tgname, pg_get_triggerdef(oid) FROM pg_trigger WHERE NOT tgisinternal ORDER BY 1;
        SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1; SELECT viewname, definition FROM pg_views WHERE schemaname = 'public';
        SELECT relname, relacl, pg_get_userbyid(relowner) FROM pg_class WHERE relname IN ('types', 'empty') ORDER BY 1;
        SELECT lomowner, md5(lo_get(oid)) FROM pg_largeobject_metadata; SELECT sequencename, last_value FROM pg_sequences ORDER BY 1; SHOW server_encoding";
    server.sql(database, &(sums.concat() + rest))
}

#[test]
fn a_server_comes_back_with_all_that_was_in_it() {
    let (Some(server), Some(other)) = (filled(), PostgresServer::start()) else { return };
    let source = source(&server, &[], false);
    let copy = backup(&source).unwrap();
    let names: Vec<&str> = copy.files.keys().map(String::as_str).collect();
    assert_eq!(names, ["+globals.sql", "App%202.dump", "app.dump", "postgres.dump"]);
    let rows = &copy.manifest.counts["app"];
    assert_eq!((rows["public.types"], rows["public.empty"], rows["public.part_1"], rows["public.heir"]), (3, 0, 2, 2));
    assert_eq!((rows["public.\"商品\""], rows["\"odd.Schema\".\"say \"\"hi\"\".x\""]), (2, 2));
    assert!(!rows.contains_key("public.parted") && !rows.contains_key("public.seen"));
    // The same database again gives the same bytes.
    assert!(backup(&source).unwrap() == copy);

    let restored = target(&other, "").restore(&copy.manifest, &copy, &terms(&other)).unwrap();
    assert_eq!(restored, copy.manifest.counts);
    assert_eq!(state(&other, "app"), state(&server, "app"));
    assert_eq!(state(&other, "App 2"), state(&server, "App 2"));
    assert_eq!(other.sql("app", "SELECT nextval('numbers'), twice(4)"), "8\t8\n");
    let error = target(&other, "").restore(&copy.manifest, &copy, &terms(&other)).unwrap_err();
    assert!(error.to_string().contains("`App 2`: it is not empty: it has 1 relations"), "{error}");
}

#[test]
fn one_database_goes_into_another_as_an_archive_and_as_statements() {
    let Some(server) = filled() else { return };
    let mut counted = Vec::new();
    for plain in [false, true] {
        let copy = backup(&source(&server, &["app"], plain)).unwrap();
        assert!(backup(&source(&server, &["app"], plain)).unwrap() == copy);
        target(&server, "drill").restore(&copy.manifest, &copy, &terms(&server)).unwrap();
        assert_eq!(state(&server, "drill"), state(&server, "app"), "plain: {plain}");
        let again = target(&server, "drill").restore(&copy.manifest, &copy, &terms(&server)).unwrap_err();
        assert!(again.to_string().contains("`drill`: it is not empty"), "{again}");
        server.sql("postgres", "DROP DATABASE drill");
        counted.push(copy.manifest.counts);
    }
    assert_eq!(counted[0], counted[1]);
    let both = backup(&source(&server, &["app", "App 2"], false)).unwrap();
    let error = target(&server, "drill").restore(&both.manifest, &both, &terms(&server)).unwrap_err();
    assert!(error.to_string().contains("cannot all go into one"), "{error}");
}

#[test]
fn a_restore_that_fails_leaves_nothing_and_fewer_rows_are_noticed() {
    let Some(server) = filled() else { return };
    let mut copy = backup(&source(&server, &["App 2"], false)).unwrap();
    copy.manifest.counts.get_mut("App 2").unwrap().insert("public.t".to_owned(), 2);
    let error = target(&server, "drill").restore(&copy.manifest, &copy, &terms(&server)).unwrap_err();
    assert!(error.to_string().contains("`drill.public.t` has 1 instead of 2"), "{error}");
    server.sql("postgres", "DROP DATABASE drill");
    let file = copy.files.get_mut("App%202.dump").unwrap();
    file.truncate(file.len() - 8);
    let error = target(&server, "drill").restore(&copy.manifest, &copy, &terms(&server)).unwrap_err();
    assert!(error.to_string().contains("`pg_restore` ended with code 1"), "{error}");
    assert_eq!(server.sql("drill", "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"), "0\n");
}

#[test]
fn errors_name_the_source_and_show_no_secret() {
    let Some(server) = filled() else { return };
    let mut wrong = login(&server);
    wrong.password = Some(Secret::from("wr0ng-secret"));
    let wrong = Postgres::new(PostgresOptions { login: wrong, ..PostgresOptions::default() });
    let error = backup(&wrong).unwrap_err().to_string();
    assert!(
        error.contains("password authentication failed for user \"postgres\"") && !error.contains("wr0ng"),
        "{error}"
    );
    assert!(!format!("{wrong:?}").contains("wr0ng"));
    let error = backup(&source(&server, &["app", "missing"], false)).unwrap_err().to_string();
    assert_eq!(error, "dump `missing`: the server has no such database, or none that lets anybody in");
    // Somebody who may not read one of the tables gets no dump.
    let alice = PostgresLogin { user: Some("alice".to_owned()), password: Some(Secret::from("x")), ..login(&server) };
    let options =
        PostgresOptions { login: alice, databases: vec!["app".to_owned()], without_globals: true, plain: false };
    let error = backup(&Postgres::new(options)).unwrap_err().to_string();
    assert!(
        error.starts_with("dump `app`: `pg_dump` ended with code 1") && error.contains("permission denied"),
        "{error}"
    );
}

#[test]
fn a_dump_that_ends_early_is_an_error() {
    let Some(server) = PostgresServer::start() else { return };
    server.sql("postgres", "CREATE TABLE many AS SELECT i, repeat('x', 500) FROM generate_series(1, 60000) i");
    for plain in [false, true] {
        let source = source(&server, &["postgres"], plain);
        let entry = source.list(b"", &Cancel::new()).unwrap().remove(0);
        let mut reader = source.open(&entry.name, &entry, &Cancel::new()).unwrap();
        let mut first = vec![0; 1 << 20];
        reader.read_exact(&mut first).unwrap();
        let ended = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'pg_dump'";
        assert_eq!(server.sql("postgres", ended), "1\n");
        let error = std::io::copy(&mut reader, &mut std::io::sink()).unwrap_err().to_string();
        assert!(error.contains("`pg_dump` ended with code 1"), "{error}");
    }
}

#[test]
fn rows_by_the_hundred_thousand_come_back() {
    let Some(server) = PostgresServer::start() else { return };
    let rows = if is_exhaustive() { 1_200_000 } else { 60_000 };
    server.sql("postgres", &format!("CREATE TABLE many AS SELECT i, 'row 😀 ' || i || E';\\n' AS t, sha256(i::text::bytea) AS b, i / 7.0 AS d FROM generate_series(1, {rows}) i"));
    let copy = backup(&source(&server, &["postgres"], false)).unwrap();
    assert_eq!(copy.manifest.counts["postgres"]["public.many"], rows);
    target(&server, "drill").restore(&copy.manifest, &copy, &terms(&server)).unwrap();
    assert_eq!(state(&server, "drill"), state(&server, "postgres"));
    println!("{rows} rows, {} bytes", copy.files.values().map(Vec::len).sum::<usize>());
}
