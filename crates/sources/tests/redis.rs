//! Redis: every type and every expiry comes back, as a whole and key by key.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod suite;

use std::io::Read;

use model::Secret;
use repository::Cancel;
use repository::backup::Origin;
use sources::into::{Target, Terms};
use sources::{Redis, RedisKeys, RedisKeysOptions, RedisLogin};
use suite::{backup, is_exhaustive};
use testkit::{CertificateFlaw, RedisOptions, RedisServer};

fn start() -> Option<RedisServer> {
    RedisServer::start(&RedisOptions::default())
}

fn login(server: &RedisServer) -> RedisLogin {
    RedisLogin {
        host: "127.0.0.1".to_owned(),
        port: Some(server.server.port()),
        password: Some(Secret::from(RedisServer::PASSWORD)),
        ..RedisLogin::default()
    }
}

fn target(server: &RedisServer, database: &str) -> Target {
    let address = format!("redis://127.0.0.1:{}/{database}", server.server.port());
    Target::parse(&address).unwrap().password(Secret::from(RedisServer::PASSWORD))
}

/// Small and large values of every type, so that each of their encodings is there.
fn fill(server: &RedisServer) {
    let script = r#"
        redis.call('SET', 'text', 'emoji 😀'); redis.call('SET', 'number', '-12345'); redis.call('SET', 'packed', string.rep('ab', 5000))
        redis.call('SET', 'bytes', string.char(0, 255, 10, 13)); redis.call('SET', '', 'the empty key'); redis.call('SET', 'module/a1/x.y', '1')
        redis.call('SETBIT', 'bits', 100, 1); redis.call('PFADD', 'about', 'a', 'b'); redis.call('SET', string.rep('long key ', 100), '1')
        redis.call('SET', '70000', 'a number as a key')
        for i = 1, 3000 do
            redis.call('RPUSH', 'long list', 'item ' .. i); redis.call('SADD', 'large set', 'item ' .. i); redis.call('SADD', 'numbers', i)
            redis.call('ZADD', 'large ranking', i / 7, 'item ' .. i); redis.call('HSET', 'large hash', 'f' .. i, string.rep('v', i % 100))
            redis.call('XADD', 'large stream', i .. '-1', 'f', 'v' .. i)
        end
        redis.call('RPUSH', 'list', 'a', 'b'); redis.call('SADD', 'set', 'a', 'b'); redis.call('ZADD', 'ranking', '1.5', 'a', '-inf', 'b', 'inf', 'c')
        redis.call('HSET', 'hash', 'f', 'v', 'g', string.rep('w', 20)); redis.call('XADD', 'stream', '1-1', 'a', 'b', 'c', 'd'); redis.call('XDEL', 'large stream', '5-1')
        redis.call('XGROUP', 'CREATE', 'large stream', 'group', '0'); redis.call('XREADGROUP', 'GROUP', 'group', 'alice', 'COUNT', '7', 'STREAMS', 'large stream', '>')
        redis.call('XACK', 'large stream', 'group', '1-1'); redis.call('GEOADD', 'places', 13.36, 38.11, 'Palermo')
        redis.call('RPUSH', 'huge item', string.rep('x', 100000)); redis.call('SET', 'expires', 'later'); redis.call('PEXPIREAT', 'expires', '4102444800123')
        redis.call('SELECT', 9); redis.call('SET', 'of nine', '9'); redis.call('SELECT', 0)
    "#;
    server.command(&["EVAL", script, "0"]);
    let library = "#!lua name=lib\nredis.register_function('twice', function(keys, args) return args[1] * 2 end)";
    server.command(&["FUNCTION", "LOAD", library]);
}

/// What is in the databases: each key with its dump and its expiry.
fn state(server: &RedisServer, database: &str) -> String {
    let script = r#"
        redis.call('SELECT', ARGV[1]); local keys = redis.call('KEYS', '*'); table.sort(keys); local all = {}
        for _, key in ipairs(keys) do
            local kind = redis.call('TYPE', key).ok; local value
            if kind == 'string' then value = redis.call('GET', key)
            elseif kind == 'list' then value = table.concat(redis.call('LRANGE', key, 0, -1), '\n')
            elseif kind == 'set' then value = redis.call('SMEMBERS', key); table.sort(value); value = table.concat(value, '\n')
            elseif kind == 'zset' then value = table.concat(redis.call('ZRANGE', key, 0, -1, 'WITHSCORES'), '\n')
            elseif kind == 'hash' then value = redis.call('HGETALL', key); local pairs = {}
                for i = 1, #value, 2 do pairs[#pairs + 1] = value[i] .. '=' .. value[i + 1] end
                table.sort(pairs); value = table.concat(pairs, '\n')
            elseif kind == 'stream' then value = cjson.encode(redis.call('XRANGE', key, '-', '+')) .. cjson.encode(redis.call('XINFO', 'GROUPS', key)) end
            all[#all + 1] = kind .. ' ' .. key .. ' ' .. redis.call('PEXPIRETIME', key) .. ' ' .. redis.sha1hex(value)
        end
        redis.call('SELECT', 0); return all
    "#;
    server.command(&["EVAL", script, "0", database])
}

#[test]
fn a_whole_server_comes_back_with_every_type_and_expiry() {
    let (Some(server), Some(other)) = (start(), start()) else { return };
    fill(&server);
    let copy = backup(&Redis::new(login(&server))).unwrap();
    assert!(copy.files["dump.rdb"].starts_with(b"REDIS0"));
    let (counts, all) = (&copy.manifest.counts["0"], server.command(&["DBSIZE"]));
    assert_eq!((counts["keys"].to_string(), counts["expiring keys"]), (all, 1));
    assert_eq!(copy.manifest.counts["9"]["keys"], 1);
    // Redis's own tool reads the file too.
    let file = server.server.folder().join("copy.rdb");
    std::fs::write(&file, &copy.files["dump.rdb"]).unwrap();
    assert!(server.check_file(&file).expect_code(0).text().contains("RDB looks OK"));
    std::fs::write(&file, &copy.files["dump.rdb"][..1000]).unwrap();
    assert!(server.check_file(&file).code != Some(0));

    target(&other, "").restore(&copy.manifest, &copy, &Terms::default()).unwrap();
    for database in ["0", "9"] {
        let wanted = state(&server, database);
        assert_eq!(state(&other, database), wanted);
        assert!(!wanted.is_empty());
    }
    assert_eq!(other.command(&["FCALL", "twice", "0", "21"]), "42");
    assert_eq!(
        other.command(&["XPENDING", "large stream", "group"]),
        server.command(&["XPENDING", "large stream", "group"])
    );

    let error = target(&other, "").restore(&copy.manifest, &copy, &Terms::default()).unwrap_err();
    assert!(error.to_string().contains("it is not empty: it has"), "{error}");
    let over = Terms { into_non_empty: true, ..Terms::default() };
    other.command(&["SET", "text", "overwritten"]);
    target(&other, "").restore(&copy.manifest, &copy, &over).unwrap();
    assert_eq!(state(&other, "0"), state(&server, "0"));
}

#[test]
fn single_keys_come_back_and_a_missing_one_is_nothing() {
    let (Some(server), Some(other)) = (start(), start()) else { return };
    fill(&server);
    let patterns = ["module/*", "expires", "large*", "missing", ""].map(str::to_owned).to_vec();
    let source = RedisKeys::new(RedisKeysOptions { login: login(&server), database: 0, patterns });
    let copy = backup(&source).unwrap();
    let names: Vec<&str> = copy.files.keys().map(String::as_str).collect();
    let expected = [
        "%",
        "+expires.json",
        "expires",
        "large%20hash",
        "large%20ranking",
        "large%20set",
        "large%20stream",
        "missing",
        "module%2Fa1%2Fx.y",
    ];
    assert_eq!(names, expected);
    assert!(copy.files["missing"].is_empty());
    assert_eq!((copy.manifest.counts["0"]["keys"], copy.manifest.counts["0"]["expiring keys"]), (7, 1));
    assert!(backup(&source).unwrap() == copy, "the same keys give the same bytes");

    target(&other, "3").restore(&copy.manifest, &copy, &Terms::default()).unwrap();
    let wanted: Vec<String> = state(&server, "0").lines().map(str::to_owned).collect();
    let found = state(&other, "3");
    assert_eq!(found.lines().count(), 7);
    assert!(found.lines().all(|line| wanted.iter().any(|wanted| wanted == line)), "{found}");
}

#[test]
fn keys_that_expired_since_do_not_come_back() {
    let (Some(server), Some(other)) = (start(), start()) else { return };
    server.command(&["SET", "stays", "1"]);
    server.command(&["SET", "soon gone", "1", "PX", "1500"]);
    let copy = backup(&Redis::new(login(&server))).unwrap();
    assert_eq!(copy.manifest.counts["0"]["expiring keys"], 1);
    let is_gone = || server.command(&["EXISTS", "soon gone"]) == "0";
    assert!(testkit::process::wait_until(std::time::Duration::from_secs(20), is_gone));
    target(&other, "").restore(&copy.manifest, &copy, &Terms::default()).unwrap();
    assert_eq!(other.command(&["KEYS", "*"]), "stays");
}

#[test]
fn errors_name_the_source_and_show_no_secret() {
    let Some(server) = start() else { return };
    let wrong = RedisLogin { password: Some(Secret::from("wr0ng-secret")), ..login(&server) };
    let error = backup(&Redis::new(wrong)).unwrap_err().to_string();
    assert!(error.contains("the login failed: WRONGPASS") && !error.contains("wr0ng"), "{error}");
    let nobody = RedisLogin { password: None, ..login(&server) };
    let error = backup(&Redis::new(nobody)).unwrap_err().to_string();
    assert!(error.starts_with("dump `dump.rdb`: ") && error.contains("NOAUTH"), "{error}");
    let closed = RedisLogin { port: Some(testkit::process::free_port().unwrap()), ..login(&server) };
    let error = backup(&Redis::new(closed)).unwrap_err().to_string();
    assert!(error.contains("cannot connect to `127.0.0.1:"), "{error}");
}

#[test]
fn a_copy_that_ends_early_is_an_error() {
    let Some(mut server) = start() else { return };
    // More than sockets hold.
    server.command(&["CONFIG", "SET", "rdbcompression", "no"]);
    for number in 0..20 {
        server.command(&[
            "EVAL",
            "for i = 1, 2000 do redis.call('SET', ARGV[1] .. i, string.rep(i, 300)) end",
            "0",
            &number.to_string(),
        ]);
    }
    let source = Redis::new(login(&server));
    let entry = source.list(b"", &Cancel::new()).unwrap().remove(0);
    let mut reader = source.open(&entry.name, &entry, &Cancel::new()).unwrap();
    let mut first = vec![0; 1 << 20];
    reader.read_exact(&mut first).unwrap();
    server.server.kill().unwrap();
    let error = std::io::copy(&mut reader, &mut std::io::sink()).unwrap_err().to_string();
    assert!(error.starts_with("dump `dump.rdb`: "), "{error}");
}

#[test]
fn a_file_that_is_cut_or_rotten_is_not_restored_to_its_end() {
    let Some(server) = start() else { return };
    fill(&server);
    let mut copy = backup(&Redis::new(login(&server))).unwrap();
    server.command(&["FLUSHALL"]);
    server.command(&["FUNCTION", "FLUSH"]);
    let file = copy.files.get_mut("dump.rdb").unwrap();
    file.truncate(file.len() - 1);
    let error = target(&server, "").restore(&copy.manifest, &copy, &Terms::default()).unwrap_err();
    assert!(error.to_string().contains("the snapshot cannot be read"), "{error}");
}

#[test]
fn tls_is_checked() {
    for (flaw, works) in
        [(CertificateFlaw::None, true), (CertificateFlaw::Expired, false), (CertificateFlaw::WrongHost, false)]
    {
        let Some(server) = RedisServer::start(&RedisOptions { tls: Some(flaw) }) else { return };
        server.command(&["SET", "a", "b"]);
        let files = server.certificates.clone().unwrap();
        let known = RedisLogin { tls: true, ca_certificate: Some(files.authority), ..login(&server) };
        let result = backup(&Redis::new(known.clone()));
        assert_eq!(result.is_ok(), works, "{flaw:?}: {result:?}");
        if works {
            let unknown = RedisLogin { ca_certificate: None, ..known };
            assert!(backup(&Redis::new(unknown)).unwrap_err().to_string().contains("certificate"));
        }
    }
}

#[test]
fn keys_by_the_hundred_thousand_come_back() {
    let (Some(server), Some(other)) = (start(), start()) else { return };
    let rounds = if is_exhaustive() { 100 } else { 6 };
    for round in 0..rounds {
        let script = "for i = 1, 10000 do redis.call('SET', 'key:' .. ARGV[1] .. ':' .. i, 'value ' .. i, 'PXAT', 4102444800000 + i) end";
        server.command(&["EVAL", script, "0", &round.to_string()]);
    }
    let copy = backup(&Redis::new(login(&server))).unwrap();
    assert_eq!(copy.manifest.counts["0"]["keys"], rounds * 10_000);
    target(&other, "").restore(&copy.manifest, &copy, &Terms::default()).unwrap();
    assert_eq!(other.command(&["DBSIZE"]), (rounds * 10_000).to_string());
    println!("{} keys, {} bytes", rounds * 10_000, copy.files["dump.rdb"].len());
}
