//! The power goes while the server is at work: what was acknowledged is on the disk, and nothing is under a final name that
//! is not whole, in whatever part and order the rest has reached the disk.

use std::process::Command;
use std::time::Duration;

use testkit::process::{free_port, wait_until};
use testkit::store_server::StoreGround;
use testkit::traced::{Disk, Journal, Manner, Scope, Traced, Watch};
use testkit::{Random, seed};

use crate::ground::{binary, everybody, options, points};
use crate::killed::{Life, Wish, assert_kept, pursue, wishes};

const START_LIMIT: Duration = Duration::from_secs(60);

/// What the server did, and after how many events of it each wish was granted.
struct Recorded {
    journal: Journal,
    wishes: Vec<Wish>,
    granted_after: Vec<usize>,
}

fn record(ground: &StoreGround, random: &mut Random) -> Recorded {
    let mut journal = Journal::of(&ground.data()).unwrap();
    let port = free_port().unwrap();
    let mut command = Command::new(binary());
    command.args(ground.serve_words(port)).env("HOME", &ground.folder);
    let watch = Watch::counting();
    let traced = Traced::new(command, &[&ground.data()]).counting(Scope::changes()).watched(&watch);
    let wishes = wishes(0, random);
    let mut granted_after = Vec::new();
    std::thread::scope(|scope| {
        let run = scope.spawn(|| traced.record(&mut journal));
        let is_up = wait_until(START_LIMIT, || std::net::TcpStream::connect(("127.0.0.1", port)).is_ok());
        for wish in wishes.iter().take_while(|_| is_up) {
            if pursue(&ground.door(port), std::slice::from_ref(wish), "recorded") == 1 {
                granted_after.push(watch.events());
            }
        }
        watch.terminate();
        let outcome = run.join().unwrap().unwrap();
        assert_eq!(outcome.ended.code, Some(0), "{}", outcome.ended.errors);
    });
    assert_eq!(granted_after.len(), wishes.len());
    journal.assert_complete();
    Recorded { journal, wishes, granted_after }
}

#[test]
fn a_loss_of_power_takes_nothing_that_a_client_was_told() {
    let random = &mut Random::new(seed("loss of a server's power"));
    let ground = StoreGround::make(binary(), &options(everybody(), false, &[])).unwrap();
    let Recorded { journal, wishes, granted_after } = record(&ground, random);
    let events = journal.events().len();
    let images = points(12, 300);
    let mut pending = 0;
    for _ in 0..images {
        let moment = random.index(events + 1);
        let manner = Manner::ALL[random.index(Manner::ALL.len())];
        let disk = Disk::after(&journal, moment);
        pending += disk.pending();
        std::fs::remove_dir_all(ground.data()).unwrap();
        disk.write_image(&ground.data(), manner, random).unwrap();
        let granted = granted_after.iter().filter(|after| **after <= moment).count();
        let when = format!("after {moment} of {events} calls, {granted} granted, {manner:?}");
        assert_kept(&ground, &wishes, granted, &when);
        // The next start needs no help, and the client that tries again gets through.
        let life = Life::begin(&ground, None);
        assert_eq!(pursue(&life.door, &wishes[granted..], &when), wishes.len() - granted, "{when}");
        assert_kept(&ground, &wishes, wishes.len(), &when);
        assert_eq!(life.end().ended.code, Some(0), "{when}");
    }
    std::fs::remove_dir_all(&ground.folder).unwrap();
    println!("{images} images of {events} calls, {pending} changes not durable in all");
    assert!(pending > images, "a disk that keeps everything proves nothing");
}
