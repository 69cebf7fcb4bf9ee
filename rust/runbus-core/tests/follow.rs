//! The reader thread, with writers at full speed on one side and takers on the other.
#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::HashMap;
use std::fs;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use runbus_core::follow::{Bell, Content, News, Tail};
use runbus_core::journal::{MetricWriter, Options, Steps};
use tempfile::tempdir;

const OPTIONS: Options = Options {
    is_mapped: true,
    sync_every: None,
    ends_with_process: false,
    is_locked: true,
};
const ROWS: i64 = 30_000;

/// Wait until the bell is rung, and return by whom.
fn heard(bell: &Bell) -> Vec<u64> {
    let mut wanted = libc::pollfd {
        fd: bell.as_raw_fd(),
        events: libc::POLLIN,
        revents: 0,
    };
    // SAFETY: one descriptor, which the bell keeps open.
    let count = unsafe { libc::poll(&raw mut wanted, 1, 60_000) };
    assert_eq!(count, 1, "nobody rang for 60 s");
    bell.heard()
}

fn steps(news: &News) -> Vec<i64> {
    let mut steps = Vec::new();
    for batch in &news.batches {
        if let Content::Points(points) = &batch.content {
            let (words, _) = points.steps.as_chunks::<8>();
            steps.extend(words.iter().map(|word| i64::from_le_bytes(*word)));
        }
    }
    steps
}

fn follow(bell: &Arc<Bell>, key: u64, folder: &Path) -> Tail {
    bell.follow(key, folder, HashMap::new(), 0, u64::MAX)
        .unwrap()
}

fn log(folder: &Path, name: &str, rows: i64) {
    fs::create_dir_all(folder.join("metrics")).unwrap();
    let path = folder.join("metrics").join(format!("{name}.journal"));
    let mut writer = MetricWriter::create(&path, OPTIONS).unwrap();
    let schema = writer.layout(&["x"]).unwrap();
    for step in 0..rows {
        writer.log(&schema, Some(step), 0, &[0.5]).unwrap();
        if step % 1000 == 0 {
            thread::sleep(Duration::from_micros(300));
        }
    }
    writer.close(0).unwrap().complete().unwrap();
}

#[test]
fn many_runs_are_followed_while_they_are_written_and_no_point_is_lost_or_told_twice() {
    const RUNS: usize = 6;
    let home = tempdir().unwrap();
    let folders: Vec<_> = (0..RUNS)
        .map(|run| home.path().join(run.to_string()))
        .collect();
    let bell = Arc::new(Bell::new().unwrap());
    let tails: Vec<_> = (0..)
        .zip(&folders)
        .map(|(key, folder)| follow(&bell, key, folder))
        .collect();
    let mut seen = vec![Vec::new(); RUNS];
    let mut done = [false; RUNS];
    thread::scope(|scope| {
        let writers: Vec<_> = folders
            .iter()
            .map(|folder| scope.spawn(|| log(folder, "w", ROWS)))
            .collect();
        while seen.iter().any(Vec::is_empty) {
            for key in heard(&bell) {
                let place = usize::try_from(key).unwrap();
                let news = tails[place].take().unwrap();
                seen[place].extend(steps(&news));
            }
        }
        for writer in writers {
            writer.join().unwrap();
        }
        tails.iter().for_each(Tail::drain);
        while done.contains(&false) {
            for key in heard(&bell) {
                let place = usize::try_from(key).unwrap();
                // A run that rang twice may have been emptied at the first.
                if let Some(news) = tails[place].take() {
                    seen[place].extend(steps(&news));
                    done[place] |= news.is_drained;
                }
            }
        }
    });
    for steps in seen {
        assert!(steps.into_iter().eq(0..ROWS));
    }
}

#[test]
fn a_run_that_is_not_taken_holds_back_no_other() {
    let home = tempdir().unwrap();
    let bell = Arc::new(Bell::new().unwrap());
    let (slow, quick) = (home.path().join("slow"), home.path().join("quick"));
    let _left = follow(&bell, 0, &slow);
    let tail = follow(&bell, 1, &quick);
    log(&slow, "w", 10);
    for round in 0..20 {
        log(&quick, &format!("w{round:02}"), 10);
        tail.drain();
        let mut found = Vec::new();
        loop {
            if !heard(&bell).contains(&1) {
                continue;
            }
            let news = tail.take().unwrap();
            found.extend(steps(&news));
            if news.is_drained {
                break;
            }
        }
        assert!(found.into_iter().eq(0..10));
    }
}

#[test]
fn a_tail_that_was_dropped_never_rings() {
    let home = tempdir().unwrap();
    let bell = Arc::new(Bell::new().unwrap());
    let dropped = follow(&bell, 0, home.path());
    drop(dropped);
    let tail = follow(&bell, 1, home.path());
    log(home.path(), "w", 10);
    tail.drain();
    let mut rung = heard(&bell);
    while !tail.take().is_some_and(|news| news.is_drained) {
        rung.extend(heard(&bell));
    }
    assert!(!rung.contains(&0), "{rung:?}");
}

#[test]
fn a_journal_that_never_ends_silences_no_other() {
    let home = tempdir().unwrap();
    let metrics = home.path().join("metrics");
    fs::create_dir_all(&metrics).unwrap();
    let mut loud = MetricWriter::create(&metrics.join("a.journal"), OPTIONS).unwrap();
    let name = loud.name("x").unwrap().unwrap();
    loud.extend(name, Steps::Automatic, 0, &vec![0.5; 20 << 16][..])
        .unwrap();
    log(home.path(), "b", 1);
    let bell = Arc::new(Bell::new().unwrap());
    let tail = follow(&bell, 0, home.path());
    for looks in 1.. {
        heard(&bell);
        let Some(news) = tail.take() else { continue };
        if news.batches.iter().any(|batch| &*batch.writer == "b") {
            // Two looks begin with the other journal at the most.
            assert!(looks < 6, "after {looks} looks");
            break;
        }
    }
}

#[test]
fn what_a_later_attempt_logs_is_read_once_that_is_reached_and_begins_no_run_before() {
    let home = tempdir().unwrap();
    let bell = Arc::new(Bell::new().unwrap());
    let folder = home.path().join("run");
    let tail = bell.follow(1, &folder, HashMap::new(), 0, 1).unwrap();
    log(&folder, "0002-8-a2-r0", 20);
    let until_drained = || {
        let (mut found, mut has_begun) = (Vec::new(), false);
        tail.drain();
        loop {
            heard(&bell);
            let Some(news) = tail.take() else { continue };
            found.extend(steps(&news));
            has_begun |= news.has_begun;
            if news.is_drained {
                return (found.len(), has_begun);
            }
        }
    };
    assert_eq!(until_drained(), (0, false));
    log(&folder, "0001-7-a1", 10);
    assert_eq!(until_drained(), (10, true));
    tail.reach(2);
    tail.reach(1);
    assert_eq!(until_drained(), (20, true));
}
