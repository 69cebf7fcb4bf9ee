//! What is read of hosts: of machines that are folders, and of the one that runs the tests.
#![allow(missing_docs, clippy::unwrap_used, clippy::float_cmp)]

mod machine;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use machine::{Hands, Machine, SECOND, engine_of, next};
use proptest::prelude::*;
use runbus_core::sampler::{Clock, Host, Standing, SystemClock};

fn values(of: &[(&str, f64)]) -> BTreeMap<String, f64> {
    of.iter()
        .map(|(name, value)| (format!("sys/{name}"), *value))
        .collect()
}

const MEMORY: &str = "MemTotal: 16000 kB\nMemFree: 1000 kB\nMemAvailable: 4000 kB\nBuffers: 0 kB\n\
    Cached: 5 kB\nSwapCached: 0 kB\nActive: 0 kB\nInactive: 0 kB\nSwapTotal: 100 kB\nSwapFree: 40 kB\n\
    Dirty: 0 kB\nWriteback: 0 kB\nMapped: 0 kB\nSlab: 0 kB\nCommitted_AS: 0 kB\nVmallocTotal: 0 kB\n\
    VmallocUsed: 0 kB\nVmallocChunk: 0 kB\n";

#[test]
fn counters_become_rates_over_the_time_that_really_passed() {
    let machine = Machine::new();
    let hands = Hands::new();
    machine
        .write("proc/stat", "cpu  0 0 0 0 0 0 0 0 0 0\ncpu0 0 0 0 0 0 0 0 0\ncpu1 0 0 0 0 0 0 0 0\n")
        .write("proc/meminfo", MEMORY)
        .write("proc/loadavg", "0.50 0.25 0.10 1/100 4242\n")
        .write("proc/uptime", "1234.56 999.00\n")
        .write("proc/sys/fs/file-nr", "2048\t0\t9223372036854775807\n")
        .write("proc/vmstat", "nr_free_pages 7\npgpgin 100\npgfault 1000\npgmajfault 10\n")
        .write("proc/cpuinfo", "processor : 0\ncpu MHz : 2000.000\ncpu MHz : 3000.000\n")
        .write("proc/diskstats", "8 0 sda 1 0 100 0 1 0 200 0 0 0 0\n8 1 sda1 1 0 100 0 1 0 200 0 0 0 0\n")
        .write(
            "proc/net/dev",
            "Inter-|   Receive\n face |bytes\n    lo: 9 0 0 0 0 0 0 0 9 0 0 0 0 0 0 0\n  eth0: 1000 0 0 0 0 0 0 0 500 0 0 0 0 0 0 0\n",
        )
        .write("proc/pressure/cpu", "some avg10=0.00 avg60=0.00 avg300=0.00 total=1000\n")
        .write("proc/pressure/memory", "some avg10=0 avg60=0 avg300=0 total=0\nfull avg10=0 avg60=0 avg300=0 total=0\n");
    let (mut engine, _) = machine.engine();
    engine.begin(&hands);
    machine
        .write("proc/stat", "cpu  50 0 25 110 10 0 0 5 0 0\ncpu0 75 0 0 25 0 0 0 0\ncpu1 0 0 0 100 0 0 0 0\n")
        .write("proc/vmstat", "nr_free_pages 7\npgpgin 104\npgfault 1500\npgmajfault 12\n")
        .write("proc/diskstats", "8 0 sda 1 0 108 0 1 0 216 0 0 0 0\n8 1 sda1 1 0 100 0 1 0 200 0 0 0 0\n")
        .write(
            "proc/net/dev",
            "Inter-|   Receive\n face |bytes\n    lo: 99 0 0 0 0 0 0 0 99 0 0 0 0 0 0 0\n  eth0: 3000 0 0 0 0 0 0 0 1500 0 0 0 0 0 0 0\n",
        )
        .write("proc/pressure/cpu", "some avg10=0.00 avg60=0.00 avg300=0.00 total=1001000\n");
    // The tick comes late, and the clock was set meanwhile: two seconds have passed all the same.
    hands.pass(SECOND);
    hands.set(hands.wall_ns() - 3600 * 1_000_000_000);
    let wanted = values(&[
        ("cpu/freq", 2500.0),
        ("cpu/iowait", 5.0),
        ("cpu/steal", 2.5),
        ("cpu/util", 40.0),
        ("cpu0/util", 75.0),
        ("cpu1/util", 0.0),
        ("disk/read", 2048.0),
        ("disk/write", 4096.0),
        ("faults/all", 250.0),
        ("faults/major", 1.0),
        ("files/open", 2048.0),
        ("load", 0.5),
        ("mem/available", 4000.0 * 1024.0),
        ("mem/total", 16000.0 * 1024.0),
        ("mem/used", 12000.0 * 1024.0),
        ("net/recv", 1000.0),
        ("net/sent", 500.0),
        ("pages/in", 2048.0),
        ("pressure/cpu", 50.0),
        ("pressure/memory", 0.0),
        ("swap/used", 60.0 * 1024.0),
        ("uptime", 1235.0),
    ]);
    assert_eq!(next(&mut engine, &hands), wanted);
}

#[test]
fn disks_that_have_files_of_their_own_are_read_by_these_and_new_ones_are_found() {
    let machine = Machine::new();
    let hands = Hands::new();
    let list = "8 0 sda 1 0 0 0 1 0 0 0 0 0 0\n8 1 sda1 1 0 0 0 1 0 0 0 0 0 0\n7 0 loop0 1 0 0 0 1 0 0 0 0 0 0\n";
    machine
        .write("proc/diskstats", list)
        .write("sys/block/sda/stat", "1 0 100 0 1 0 200 0 0 0 0\n")
        .write("sys/block/loop0/stat", "1 0 100 0 1 0 200 0 0 0 0\n");
    let (mut engine, _) = machine.engine();
    engine.begin(&hands);
    machine
        .write("sys/block/sda/stat", "1 0 104 0 1 0 208 0 0 0 0\n")
        .write("sys/block/loop0/stat", "1 0 999 0 1 0 999 0 0 0 0\n");
    let wanted = values(&[("disk/read", 2048.0), ("disk/write", 4096.0)]);
    assert_eq!(next(&mut engine, &hands), wanted);
    machine
        .write(
            "proc/diskstats",
            &format!("{list}8 16 sdb 1 0 0 0 1 0 0 0 0 0 0\n"),
        )
        .write("sys/block/sdb/stat", "1 0 0 0 1 0 0 0 0 0 0\n");
    for _ in 0..70 {
        next(&mut engine, &hands);
    }
    machine.write("sys/block/sdb/stat", "1 0 2 0 1 0 0 0 0 0 0\n");
    assert_eq!(next(&mut engine, &hands)["sys/disk/read"], 1024.0);
}

#[test]
fn a_machine_that_shows_nothing_has_no_values_and_says_why() {
    let machine = Machine::new();
    let hands = Hands::new();
    machine.remove("proc");
    let (mut engine, processes) = machine.engine();
    engine.begin(&hands);
    assert_eq!(next(&mut engine, &hands), BTreeMap::new());
    assert!(processes.heaviest().is_empty());
    for cost in engine.costs() {
        let is_of_job = cost.name == "processes of the job";
        assert_eq!(
            matches!(cost.standing, Standing::Ended(_)),
            !is_of_job,
            "{cost:?}"
        );
    }
}

#[test]
fn a_file_of_nonsense_loses_its_own_values_only() {
    let machine = Machine::new();
    let hands = Hands::new();
    for name in [
        "stat",
        "meminfo",
        "diskstats",
        "net/dev",
        "vmstat",
        "uptime",
        "100/stat",
    ] {
        machine.write(
            &format!("proc/{name}"),
            "cpu \u{e9}\n) ( 7\ncpu9999999999999999999999 5\n:\n\n",
        );
    }
    machine.write("proc/loadavg", "0.50 0.25 0.10 1/100 4242\n");
    machine.write("proc/pressure/io", "some");
    let (mut engine, _) = machine.engine();
    engine.begin(&hands);
    assert_eq!(next(&mut engine, &hands), values(&[("load", 0.5)]));
}

#[test]
fn control_groups_of_version_two_have_the_least_of_the_limits_above() {
    let machine = Machine::new();
    let hands = Hands::new();
    machine
        .write("proc/self/cgroup", "0::/job/step\n")
        .write("sys/fs/cgroup/cgroup.controllers", "cpu memory pids\n")
        .write("sys/fs/cgroup/job/memory.max", "1048576\n")
        .write("sys/fs/cgroup/job/cpu.max", "150000 100000\n")
        .write("sys/fs/cgroup/job/step/memory.max", "max\n")
        .write("sys/fs/cgroup/job/step/cpu.max", "max 100000\n")
        .write("sys/fs/cgroup/job/step/memory.current", "524288\n")
        .write(
            "sys/fs/cgroup/job/step/memory.stat",
            "anon 1\ninactive_file 4096\n",
        )
        .write(
            "sys/fs/cgroup/job/step/memory.events",
            "oom 0\noom_kill 2\n",
        )
        .write("sys/fs/cgroup/job/step/pids.current", "7\n")
        .write(
            "sys/fs/cgroup/job/step/cpu.stat",
            "usage_usec 0\nnr_throttled 1\nthrottled_usec 0\n",
        );
    let (mut engine, _) = machine.engine();
    engine.begin(&hands);
    let stat = "usage_usec 1250000\nnr_throttled 9\nthrottled_usec 250000\n";
    machine.write("sys/fs/cgroup/job/step/cpu.stat", stat);
    let wanted = values(&[
        ("cgroup/cpu", 125.0),
        ("cgroup/cpu_limit", 150.0),
        ("cgroup/mem", 520_192.0),
        ("cgroup/mem_limit", 1_048_576.0),
        ("cgroup/oom_kills", 2.0),
        ("cgroup/pids", 7.0),
        ("cgroup/throttled", 25.0),
    ]);
    assert_eq!(next(&mut engine, &hands), wanted);
}

#[test]
fn the_groups_are_those_of_the_job_also_where_who_samples_is_in_another() {
    let machine = Machine::new();
    let hands = Hands::new();
    machine
        .write("proc/self/cgroup", "0::/leader\n")
        .write("proc/100/cgroup", "0::/job\n")
        .write("sys/fs/cgroup/cgroup.controllers", "memory\n")
        .write("sys/fs/cgroup/leader/memory.current", "1\n")
        .write("sys/fs/cgroup/job/memory.current", "4096\n");
    let (mut engine, _) = machine.engine();
    engine.begin(&hands);
    let wanted = values(&[("cgroup/mem", 4096.0)]);
    assert_eq!(next(&mut engine, &hands), wanted);
}

#[test]
fn what_a_group_may_give_back_is_read_once_a_second_and_whenever_much_has_changed() {
    let machine = Machine::new();
    let hands = Hands::new();
    let group = |used: u64, cached: u64| {
        machine
            .write("sys/fs/cgroup/memory.current", &format!("{used}\n"))
            .write(
                "sys/fs/cgroup/memory.stat",
                &format!("inactive_file {cached}\n"),
            );
    };
    machine
        .write("proc/self/cgroup", "0::/\n")
        .write("sys/fs/cgroup/cgroup.controllers", "memory\n");
    group(1_000_000, 100_000);
    let (mut engine, _) = machine.engine();
    engine.begin(&hands);
    let mut used_after = |nanoseconds: u64| {
        hands.pass(nanoseconds);
        let row = engine.tick(&hands, hands.wall_ns());
        let mem = row.iter().find(|(name, _)| *name == "sys/cgroup/mem");
        mem.unwrap().1
    };
    let is_near = |found: f64, wanted: f64| (found - wanted).abs() <= wanted / 3e4;
    group(1_000_000, 200_000);
    assert!(is_near(used_after(SECOND / 10), 900_000.0));
    assert!(is_near(used_after(SECOND), 800_000.0));
    group(1_500_000, 0);
    assert!(is_near(used_after(SECOND / 10), 1_500_000.0));
}

/// Version 1, with its groups where a container has them: the path of the host is not to be seen.
fn of_version_one(machine: &Machine, controllers: &str) {
    machine
        .write("proc/self/cgroup", controllers)
        .write("sys/fs/cgroup/memory/memory.usage_in_bytes", "2097152\n")
        .write("sys/fs/cgroup/memory/memory.limit_in_bytes", "4194304\n")
        .write(
            "sys/fs/cgroup/memory/memory.stat",
            "total_inactive_file 1048576\n",
        )
        .write(
            "sys/fs/cgroup/memory/memory.oom_control",
            "under_oom 0\noom_kill 3\n",
        )
        .write("sys/fs/cgroup/cpu,cpuacct/cpuacct.usage", "0\n")
        .write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "50000\n")
        .write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n")
        .write(
            "sys/fs/cgroup/cpu,cpuacct/cpu.stat",
            "nr_throttled 0\nthrottled_time 0\n",
        );
}

#[test]
fn control_groups_of_version_one_and_of_both_say_the_same() {
    let v1 = "9:memory:/docker/f00\n4:cpu,cpuacct:/docker/f00\n0::/\n";
    for (controllers, is_hybrid) in [(v1, false), (v1, true)] {
        let machine = Machine::new();
        let hands = Hands::new();
        of_version_one(&machine, controllers);
        if is_hybrid {
            machine.write("sys/fs/cgroup/unified/cgroup.controllers", "\n");
        }
        let (mut engine, _) = machine.engine();
        engine.begin(&hands);
        machine.write("sys/fs/cgroup/cpu,cpuacct/cpuacct.usage", "500000000\n");
        machine.write(
            "sys/fs/cgroup/cpu,cpuacct/cpu.stat",
            "throttled_time 100000000\n",
        );
        let wanted = values(&[
            ("cgroup/cpu", 50.0),
            ("cgroup/cpu_limit", 50.0),
            ("cgroup/mem", 1_048_576.0),
            ("cgroup/mem_limit", 4_194_304.0),
            ("cgroup/oom_kills", 3.0),
            ("cgroup/throttled", 10.0),
        ]);
        assert_eq!(next(&mut engine, &hands), wanted);
    }
}

#[test]
fn no_limit_is_no_value() {
    let machine = Machine::new();
    let hands = Hands::new();
    of_version_one(&machine, "9:memory:/\n4:cpu,cpuacct:/\n");
    machine.write(
        "sys/fs/cgroup/memory/memory.limit_in_bytes",
        "9223372036854771712\n",
    );
    machine.write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n");
    let (mut engine, _) = machine.engine();
    engine.begin(&hands);
    let found = next(&mut engine, &hands);
    let names = [
        "sys/cgroup/mem_limit",
        "sys/cgroup/cpu_limit",
        "sys/cgroup/throttled",
    ];
    assert!(
        names.iter().all(|name| !found.contains_key(*name)),
        "{found:?}"
    );
    assert!(found.contains_key("sys/cgroup/mem"));
}

#[test]
fn a_jobs_processes_are_those_below_its_first_and_those_that_were() {
    let machine = Machine::new();
    let hands = Hands::new();
    machine.process(1, 0, 1, 0, 0).process(100, 1, 5, 0, 0);
    machine
        .process(101, 100, 6, 0, 0)
        .process(102, 101, 7, 0, 0);
    machine.process(200, 1, 8, 900, 0);
    let (mut engine, processes) = machine.engine();
    engine.begin(&hands);
    // 101 has ended, and its child is that of another process now.
    machine
        .end_process(101)
        .process(102, 1, 7, 50, 0)
        .process(200, 1, 8, 950, 0);
    next(&mut engine, &hands);
    machine.process(102, 1, 7, 75, 0);
    let found = next(&mut engine, &hands);
    assert_eq!(found["sys/job/processes"], 2.0);
    assert_eq!(found["sys/job/threads"], 6.0);
    assert_eq!(found["sys/job/cpu"], 25.0);
    assert_eq!(found["sys/processes"], 4.0);
    assert!(processes.is_own(102) && !processes.is_own(200));
    let heavy = processes.heaviest();
    assert_eq!(
        (heavy[0].pid, heavy[0].cpu, heavy[0].is_own),
        (102, 25.0, true)
    );
    assert_eq!(heavy[0].name, "worker 102");
}

#[test]
fn others_are_only_counted_where_nobody_asks_for_the_heaviest() {
    let machine = Machine::new();
    let hands = Hands::new();
    let host = Host {
        heaviest: 0,
        ..machine.host()
    };
    machine
        .process(100, 1, 5, 0, 0)
        .write("proc/100/task/100/children", "101 ")
        .process(101, 100, 6, 0, 0)
        .write("proc/loadavg", "0.50 0.25 0.10 1/100 4242\n");
    for pid in 1_000..1_200 {
        machine.process(pid, 1, 7, 0, 0);
    }
    let (mut engine, processes) = engine_of(&host);
    engine.begin(&hands);
    // A look into these would find a child of the job, and that a line is cut off.
    machine
        .process(1_100, 100, 9, 0, 0)
        .write("proc/1101/stat", "1101 (x");
    let found = next(&mut engine, &hands);
    assert_eq!(
        (found["sys/processes"], found["sys/job/processes"]),
        (202.0, 2.0)
    );
    assert!(!processes.is_own(1_100) && processes.heaviest().is_empty());
    // What the kernel lists is found all the same.
    machine
        .write("proc/100/task/100/children", "101 102 ")
        .process(102, 100, 8, 0, 0);
    assert_eq!(next(&mut engine, &hands)["sys/job/processes"], 3.0);
}

#[test]
fn a_job_is_found_among_more_processes_than_are_looked_at() {
    let machine = Machine::new();
    let hands = Hands::new();
    let host = Host {
        heaviest: 3,
        ..machine.host()
    };
    machine.process(100, 1, 5, 0, 0);
    let children: Vec<String> = (101..151).map(|pid| pid.to_string()).collect();
    machine.write("proc/100/task/100/children", &children.join(" "));
    for pid in 101..151 {
        machine.process(pid, 100, 6, 0, 0);
    }
    for pid in 1_000..12_000 {
        machine.process(pid, 1, 7, 0, 0);
    }
    let (mut engine, processes) = engine_of(&host);
    engine.begin(&hands);
    let found = next(&mut engine, &hands);
    assert_eq!(
        (found["sys/processes"], found["sys/job/processes"]),
        (11_051.0, 51.0)
    );
    assert!((100..151).all(|pid| processes.is_own(pid)));
    assert_eq!(processes.heaviest().len(), 6);
}

#[test]
fn the_processes_of_a_session_are_found_from_within_though_its_leader_has_ended() {
    let machine = Machine::new();
    let hands = Hands::new();
    let ours = std::process::id();
    // As srun leaves it: 41 starts tasks in a session whose leader, 40, is gone.
    let process = |pid: u32, parent: u32, session: u32| {
        let line = format!(
            "{pid} (x) S {parent} {pid} {session} 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 7 1 10 0\n"
        );
        machine.write(&format!("proc/{pid}/stat"), &line);
    };
    for (pid, parent, session) in [
        (1, 0, 1),
        (41, 1, 40),
        (42, 41, 40),
        (43, 41, 40),
        (ours, 42, 40),
    ] {
        process(pid, parent, session);
    }
    machine.link("proc/self", &ours.to_string());
    let host = |is_beside| Host {
        root: None,
        is_beside,
        ..machine.host()
    };
    let counted = |is_beside| {
        let (mut engine, _) = engine_of(&host(is_beside));
        engine.begin(&hands);
        next(&mut engine, &hands)["sys/job/processes"]
    };
    assert_eq!([counted(false), counted(true)], [4.0, 3.0]);
    // The same where the kernel lists children.
    for (pid, children) in [
        (41, "42 43 ".to_owned()),
        (42, format!("{ours} ")),
        (43, String::new()),
        (ours, String::new()),
    ] {
        machine.write(&format!("proc/{pid}/task/{pid}/children"), &children);
    }
    assert_eq!([counted(false), counted(true)], [4.0, 3.0]);
}

#[test]
fn the_group_of_a_task_of_slurm_is_that_of_its_step() {
    let machine = Machine::new();
    machine
        .process(100, 1, 5, 0, 0)
        .write(
            "proc/100/cgroup",
            "0::/slurm.scope/job_7/step_0/user/task_0\n",
        )
        .write("sys/fs/cgroup/cgroup.controllers", "memory\n")
        .write("sys/fs/cgroup/slurm.scope/job_7/memory.max", "1048576\n")
        .write("sys/fs/cgroup/slurm.scope/job_7/step_0/memory.max", "max\n")
        .write(
            "sys/fs/cgroup/slurm.scope/job_7/step_0/memory.current",
            "4096\n",
        )
        .write(
            "sys/fs/cgroup/slurm.scope/job_7/step_0/memory.stat",
            "inactive_file 0\n",
        )
        .write(
            "sys/fs/cgroup/slurm.scope/job_7/step_0/user/task_0/memory.current",
            "1024\n",
        );
    let hands = Hands::new();
    let (mut engine, _) = machine.engine();
    engine.begin(&hands);
    let found = next(&mut engine, &hands);
    assert_eq!(
        [found["sys/cgroup/mem"], found["sys/cgroup/mem_limit"]],
        [4096.0, 1_048_576.0]
    );
}

#[test]
fn a_number_that_is_another_process_now_is_not_of_the_job() {
    let machine = Machine::new();
    let hands = Hands::new();
    machine
        .process(100, 1, 5, 10, 0)
        .process(101, 100, 6, 10, 0);
    let (mut engine, processes) = machine.engine();
    engine.begin(&hands);
    machine
        .process(100, 1, 77, 5000, 0)
        .process(101, 1, 78, 5000, 0);
    for _ in 0..3 {
        let found = next(&mut engine, &hands);
        assert!(!found.contains_key("sys/job/cpu"), "{found:?}");
        assert!(!processes.is_own(100) && !processes.is_own(101));
    }
}

/// A child that works and ends, and when its parent takes its time over.
#[derive(Clone, Debug)]
struct Child {
    own: u64,
    before_end: u64,
    /// Whether its parent is read before it is gone, in the same look, or only in the next.
    is_late: bool,
}

fn child() -> impl Strategy<Value = Child> {
    (0..500u64, 0..500u64, any::<bool>()).prop_map(|(own, before_end, is_late)| Child {
        own,
        before_end,
        is_late,
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn the_time_of_children_that_end_is_counted_once(children in prop::collection::vec(child(), 1..5)) {
        let machine = Machine::new();
        let hands = Hands::new();
        machine.process(100, 1, 5, 0, 0);
        let (mut engine, _) = machine.engine();
        engine.begin(&hands);
        let (mut counted, mut waited, mut worked) = (0.0, 0, 0);
        let mut tick = |engine: &mut _| counted += next(engine, &hands)["sys/job/cpu"];
        for (child, pid) in children.iter().zip(101u32..) {
            machine.process(pid, 100, u64::from(pid), 0, 0);
            tick(&mut engine);
            machine.process(pid, 100, u64::from(pid), child.own, 0);
            tick(&mut engine);
            let whole = child.own + child.before_end;
            waited += whole;
            worked += whole;
            machine.end_process(pid);
            if child.is_late {
                tick(&mut engine);
            }
            machine.process(100, 1, 5, 0, waited);
            tick(&mut engine);
        }
        tick(&mut engine);
        let counted: f64 = counted;
        let worked: f64 = f64::from(u32::try_from(worked).unwrap());
        prop_assert!((counted - worked).abs() <= 0.001 * worked, "{counted} of {worked}");
    }
}

#[test]
fn more_cores_and_processes_than_are_looked_at_are_cut_off() {
    let machine = Machine::new();
    let hands = Hands::new();
    let cores = (0..300).map(|core| format!("cpu{core} 10 0 0 10 0 0 0 0\n"));
    let stat: String = std::iter::once("cpu  10 0 0 10 0 0 0 0\n".to_owned())
        .chain(cores)
        .collect();
    machine.write("proc/stat", &stat);
    for pid in 100..600 {
        machine.process(pid, if pid == 100 { 1 } else { 100 }, 5, 0, 0);
    }
    let (mut engine, processes) = machine.engine();
    engine.begin(&hands);
    machine.write("proc/stat", &stat.replace(" 10 ", " 20 "));
    let found = next(&mut engine, &hands);
    let cores = found
        .keys()
        .filter(|name| name.starts_with("sys/cpu") && *name != "sys/cpu/util");
    assert_eq!(cores.filter(|name| name.ends_with("/util")).count(), 256);
    assert_eq!(found["sys/job/processes"], 500.0);
    assert_eq!(processes.heaviest().len(), 4);
}

#[test]
fn a_job_on_a_machine_of_ten_thousand_processes_is_told_as_on_any_other() {
    let machine = Machine::new();
    let hands = Hands::new();
    machine.write("proc/stat", "cpu  10 0 0 10 0 0 0 0\n");
    // More than are looked at, in whatever order the folder names them.
    for pid in 1_000..11_100 {
        machine.process(pid, 1, 5, 0, 0);
    }
    machine
        .process(100, 1, 5, 0, 0)
        .process(101, 100, 5, 10, 0)
        .write("proc/100/task/100/children", "101 ")
        .write("proc/101/task/101/children", "");
    let (mut engine, processes) = machine.engine();
    engine.begin(&hands);
    let found = next(&mut engine, &hands);
    assert_eq!(found["sys/job/processes"], 2.0);
    assert_eq!(processes.heaviest().len(), 4);
    machine.process(101, 100, 5, 30, 0);
    assert_eq!(next(&mut engine, &hands)["sys/job/cpu"], 20.0);
    machine.end_process(101);
    assert_eq!(next(&mut engine, &hands)["sys/job/processes"], 1.0);
}

#[test]
fn this_machine_has_values_that_can_be_true() {
    let host = Host {
        folder: Some(std::env::temp_dir()),
        ..Host::default()
    };
    let (mut engine, processes) = engine_of(&host);
    engine.begin(&SystemClock);
    // Something to be seen: this thread works until the kernel has counted it.
    let work = || {
        (0..200_000u64).fold(0u64, |sum, number| {
            sum.wrapping_mul(31).wrapping_add(number)
        })
    };
    let mut sum = 0u64;
    let mut found = BTreeMap::new();
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(60) {
        sum = sum.wrapping_add(work());
        let row = engine.tick(&SystemClock, SystemClock.wall_ns());
        found.extend(row.iter().map(|(name, value)| (name.to_owned(), value)));
        // The time of a process and that of the processors are counted at different moments.
        let has_worked = found.get("sys/job/cpu").is_some_and(|cpu| *cpu > 0.0);
        if has_worked && found.contains_key("sys/cpu/util") {
            break;
        }
    }
    assert!(sum != 1);
    assert!((0.0..=100.0).contains(&found["sys/cpu/util"]), "{found:?}");
    assert!(found["sys/mem/used"] < found["sys/mem/total"]);
    assert!(found["sys/job/rss"] > 1e6 && found["sys/job/rss"] < found["sys/mem/total"]);
    assert!(found["sys/job/files"] >= 3.0 && found["sys/job/threads"] >= 1.0);
    assert!((0.0..=100.0).contains(&found["sys/disk/used"]));
    assert!(processes.is_own(std::process::id()));
}
