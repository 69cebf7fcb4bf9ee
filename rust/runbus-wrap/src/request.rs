//! What is to run: `request`, written beside `request.sh` by the process that submits the job.
//!
//! A list of fields, each a line `NAME LENGTH`, so many bytes, and a line end:
//!
//! | field | holds |
//! |---|---|
//! | `version` | `1`; the first field |
//! | `cwd` | the folder to start in |
//! | `advice` | what stderr says if that folder cannot be entered |
//! | `env` | `NAME=VALUE`, set on top of what the wrapper inherits |
//! | `secret` | `NAME`: its value is that of the inherited variable `RUNBUS_SECRET_NAME` |
//! | `nice`, `cpus` | the niceness to add; the processors, as `taskset -c` takes them |
//! | `leftovers` | `kill` ends what the job leaves behind; by default it is kept |
//! | `sampler` | the program that samples the machine once the job has lasted a second |
//! | `arg` | one word of the command, in order |
//!
//! Without the file, or without an `arg`, `request.sh` runs under `/bin/sh`.
//!
//! Where no environment can be handed over unseen, such as to a container, the variables
//! `RUNBUS_SECRET_NAME` are the `env` fields of the file `secrets`, which is removed once it is read.

use std::ffi::{CStr, CString};
use std::os::unix::ffi::OsStrExt;

use crate::os;

pub(crate) const FILE: &str = "request";
const SECRETS: &str = "secrets";
const PREFIX: &str = "RUNBUS_SECRET_";
/// The variable that tells the processes of an attempt from all others.
pub(crate) const MARK: &str = "RUNBUS_ATTEMPT";

/// A request, ready for the exec.
#[derive(Debug, Default)]
pub(crate) struct Request {
    pub(crate) cwd: Option<CString>,
    pub(crate) advice: Vec<u8>,
    pub(crate) environment: Vec<CString>,
    pub(crate) nice: i32,
    pub(crate) cpus: Vec<usize>,
    pub(crate) kills_leftovers: bool,
    pub(crate) sampler: Option<CString>,
    pub(crate) words: Vec<CString>,
}

impl Request {
    /// Read the request in the current folder, unless its text is `given`.
    ///
    /// The error is a sentence for the record.
    pub(crate) fn read(folder: &[u8], given: Option<&[u8]>) -> Result<Self, String> {
        let text = given
            .map(<[u8]>::to_vec)
            .or_else(|| os::exists(FILE).then(|| os::read(FILE)));
        let mut inherited = Environment(os::environment());
        if let Some(handed) = os::take(SECRETS) {
            inherited.take_in(&handed)?;
        }
        Self::parse(text.as_deref(), folder, inherited)
    }

    fn parse(
        text: Option<&[u8]>,
        folder: &[u8],
        mut environment: Environment,
    ) -> Result<Self, String> {
        let mut request = Self::default();
        for (name, value) in text.map_or_else(|| Ok(Vec::new()), fields)? {
            match name {
                b"version" if value == b"1" => {}
                b"cwd" => request.cwd = Some(os::c_string(value)),
                b"advice" => request.advice = value.to_vec(),
                b"env" => environment.set_pair(value)?,
                b"secret" => environment.reveal(value)?,
                b"nice" => request.nice = number(value)?,
                b"cpus" => request.cpus = cpus(value)?,
                b"leftovers" => request.kills_leftovers = value == b"kill",
                b"sampler" => request.sampler = Some(os::c_string(value)),
                b"arg" => request.words.push(os::c_string(value)),
                _ => {
                    let name = String::from_utf8_lossy(name);
                    return Err(format!(
                        "the request has a field that is unknown here: {name}"
                    ));
                }
            }
        }
        if request.words.is_empty() {
            let script = std::env::current_dir()
                .unwrap_or_default()
                .join("request.sh");
            request.words = vec![
                c"/bin/sh".into(),
                os::c_string(script.as_os_str().as_bytes()),
            ];
        } else {
            environment.forget_secrets();
        }
        environment.set(MARK.as_bytes(), folder);
        request.environment = environment.0;
        Ok(request)
    }

    /// The places where the program may be, in the order of the job's own PATH.
    pub(crate) fn programs(&self) -> Vec<CString> {
        let program = self.words[0].as_bytes();
        if program.contains(&b'/') {
            return vec![self.words[0].clone()];
        }
        let path = self
            .environment
            .iter()
            .find_map(|pair| pair.as_bytes().strip_prefix(b"PATH="))
            .unwrap_or(b"/usr/local/bin:/usr/bin:/bin");
        path.split(|byte| *byte == b':')
            .map(|folder| {
                let folder: &[u8] = if folder.is_empty() { b"." } else { folder };
                os::c_string(&[folder, b"/", program].concat())
            })
            .collect()
    }
}

type Field<'a> = (&'a [u8], &'a [u8]);

/// Part the text of a request into its fields.
fn fields(text: &[u8]) -> Result<Vec<Field<'_>>, String> {
    let cut = || "the request is cut off".to_owned();
    let mut found = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest
            .iter()
            .position(|byte| *byte == b'\n')
            .ok_or_else(cut)?;
        let space = rest[..end]
            .iter()
            .position(|byte| *byte == b' ')
            .ok_or_else(cut)?;
        let length: usize = number(&rest[space + 1..end])?;
        let after = end + 1 + length;
        if length > rest.len() || rest.get(after) != Some(&b'\n') {
            return Err(cut());
        }
        found.push((&rest[..space], &rest[end + 1..after]));
        rest = &rest[after + 1..];
    }
    if found.first().is_none_or(|(name, _)| *name != b"version") {
        return Err("the request has no version".to_owned());
    }
    Ok(found)
}

fn number<T: std::str::FromStr>(text: &[u8]) -> Result<T, String> {
    let read = std::str::from_utf8(text)
        .ok()
        .and_then(|text| text.parse().ok());
    read.ok_or_else(|| {
        format!(
            "not a number in the request: {}",
            String::from_utf8_lossy(text)
        )
    })
}

/// Read a list such as `0,2-3`.
fn cpus(text: &[u8]) -> Result<Vec<usize>, String> {
    let mut found = Vec::new();
    for part in text.split(|byte| *byte == b',') {
        let mut ends = part.splitn(2, |byte| *byte == b'-');
        let first: usize = number(ends.next().unwrap_or_default())?;
        let last = ends.next().map_or(Ok(first), number)?;
        // More than a set of processors can name are none.
        found.extend((first..=last).take_while(|cpu| *cpu < 1024));
    }
    Ok(found)
}

/// The variables of a job, each as `NAME=VALUE`.
struct Environment(Vec<CString>);

impl Environment {
    fn set(&mut self, name: &[u8], value: &[u8]) {
        let pair = os::c_string(&[name, b"=", value].concat());
        match self
            .0
            .iter_mut()
            .find(|known| value_of(known, name).is_some())
        {
            Some(known) => *known = pair,
            None => self.0.push(pair),
        }
    }

    fn set_pair(&mut self, pair: &[u8]) -> Result<(), String> {
        let at = pair.iter().position(|byte| *byte == b'=');
        let at = at
            .filter(|at| *at > 0)
            .ok_or("the request sets a variable without a name")?;
        self.set(&pair[..at], &pair[at + 1..]);
        Ok(())
    }

    /// Take in what was handed over in a file; nothing in it is of any other use.
    fn take_in(&mut self, handed: &[u8]) -> Result<(), String> {
        for (name, value) in fields(handed)? {
            if name == b"env" {
                self.set_pair(value)?;
            }
        }
        Ok(())
    }

    fn reveal(&mut self, name: &[u8]) -> Result<(), String> {
        let source = [PREFIX.as_bytes(), name].concat();
        let found = self.0.iter().find_map(|known| value_of(known, &source));
        let Some(value) = found.map(<[u8]>::to_vec) else {
            let name = String::from_utf8_lossy(name);
            return Err(format!("the secret {name} was not handed over"));
        };
        self.set(name, &value);
        Ok(())
    }

    /// Take out the values that were handed over under names that the job does not know.
    fn forget_secrets(&mut self) {
        self.0
            .retain(|pair| !pair.as_bytes().starts_with(PREFIX.as_bytes()));
    }
}

/// The value of a variable, if it is the one of that name.
fn value_of<'a>(pair: &'a CStr, name: &[u8]) -> Option<&'a [u8]> {
    pair.to_bytes().strip_prefix(name)?.strip_prefix(b"=")
}

#[cfg(test)]
mod tests {
    use super::{Environment, Request, cpus};

    fn text(fields: &[(&str, &str)]) -> Vec<u8> {
        let lines = fields
            .iter()
            .map(|(name, value)| format!("{name} {}\n{value}\n", value.len()));
        lines.collect::<String>().into_bytes()
    }

    fn parse(fields: &[(&str, &str)]) -> Result<Request, String> {
        let inherited = [
            c"PATH=/a::/b",
            c"with.dot=kept",
            c"RUNBUS_SECRET_TOKEN=s3cret",
        ];
        let inherited = Environment(inherited.map(Into::into).into());
        Request::parse(Some(&text(fields)), b"/f", inherited)
    }

    #[test]
    fn what_is_asked_for_is_what_runs() {
        let request = parse(&[
            ("version", "1"),
            ("cwd", "/x y"),
            ("env", "A=1\n=2"),
            ("secret", "TOKEN"),
            ("cpus", "0,2-3"),
            ("sampler", "/bin/sampler"),
            ("arg", "prog"),
            ("arg", ""),
        ])
        .expect("a request");
        let environment: Vec<_> = request.environment.iter().map(|one| one.to_str()).collect();
        let wanted = [
            "PATH=/a::/b",
            "with.dot=kept",
            "A=1\n=2",
            "TOKEN=s3cret",
            "RUNBUS_ATTEMPT=/f",
        ];
        assert_eq!(environment, wanted.map(Ok));
        assert_eq!(request.words, [c"prog".to_owned(), c"".to_owned()]);
        assert_eq!(request.cpus, [0, 2, 3]);
        assert_eq!(request.sampler.as_deref(), Some(c"/bin/sampler"));
        let programs = request.programs();
        assert_eq!(
            programs,
            ["/a/prog", "./prog", "/b/prog"].map(|one| super::os::c_string(one.as_bytes()))
        );
    }

    #[test]
    fn secrets_that_are_handed_over_in_a_file_are_variables() {
        let mut environment = Environment(Vec::new());
        let handed = text(&[("version", "1"), ("env", "RUNBUS_SECRET_A=x\ny=")]);
        assert_eq!(environment.take_in(&handed), Ok(()));
        assert_eq!(environment.0, [c"RUNBUS_SECRET_A=x\ny=".to_owned()]);
        assert!(environment.take_in(&handed[..handed.len() - 2]).is_err());
    }

    #[test]
    fn a_request_that_is_cut_or_unknown_is_refused_in_words() {
        let whole = text(&[("version", "1"), ("arg", "true")]);
        for end in 1..whole.len() {
            // A cut between two fields is whole, and has no command.
            let cut = Request::parse(Some(&whole[..end]), b"", Environment(Vec::new()));
            assert!(cut.is_err() || end == 12, "{end}");
        }
        for bad in [
            vec![("arg", "true")],
            vec![("version", "2")],
            vec![("version", "1"), ("surprise", "")],
            vec![("version", "1"), ("env", "=value")],
            vec![("version", "1"), ("secret", "OTHER")],
            vec![("version", "1"), ("nice", "much")],
        ] {
            assert!(parse(&bad).is_err(), "{bad:?}");
        }
        let endless = Some(&b"version 99999999999999999999\n1\n"[..]);
        assert!(Request::parse(endless, b"", Environment(Vec::new())).is_err());
    }

    #[test]
    fn a_set_of_processors_without_end_is_bounded() {
        assert_eq!(cpus(b"1000-99999999999").expect("a set").len(), 24);
    }

    #[test]
    fn without_a_file_the_script_runs() {
        let request = Request::parse(None, b"", Environment(Vec::new())).expect("a request");
        assert_eq!(request.words[0].to_str(), Ok("/bin/sh"));
    }
}
