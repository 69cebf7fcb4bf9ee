#!/bin/sh
# Mutation testing with mutmut: which small changes to the code does no test notice? `make mutants` calls it.
# usage: mutants.sh FOLDER [PACKAGE | PACKAGE/MODULE]...     such as: jobs/_state bus
set -eu
folder=$1
shift
[ $# -gt 0 ] || set -- jobs attempt supervisor bus kernel

# mutmut wants the code in src/, and leaves its own files there: both stay out of the checkout. What it has tried is
# kept in mutants/, so that a second run tries only what has changed.
# The folder of what mutmut makes is there before Python starts: an entry of sys.path that is missing then stays so.
mkdir -p "$folder/mutants/src"
rm -rf "$folder/src" "$folder/tests" "$folder/docs"
cp -a python "$folder/src"
cp -a tests docs README.md CONTRIBUTING.md Makefile "$folder/"
sed '/^testpaths/d' pyproject.toml >"$folder/pyproject.toml"
mutate='' tests=''
for one in "$@"; do
    case $one in
        */*) mutate="$mutate \"src/runbus/$one.py\"," ;;
        *) mutate="$mutate \"src/runbus/$one/*\"," ;;
    esac
    # The tests that have the most to say of it. Those of whole programs start others, where mutmut cannot follow.
    case $one in
        bus*) near='unit/bus property/test_dispatch_faults.py property/test_mailbox.py property/test_stream_laws.py property/test_waits_and_cancellations.py' ;;
        jobs*) near='unit/jobs unit/supervisor unit/experiment' ;;
        kernel*) near='unit/kernel unit/plugins property/test_plugin_order.py property/test_kernel_end.py
            property/test_waits_and_cancellations.py' ;;
        supervisor*) near='unit/supervisor property/test_decide.py' ;;
        *) near=unit/${one%%/*} ;;
    esac
    for test in $near; do tests="$tests \"tests/$test\","; done
done
cat >>"$folder/pyproject.toml" <<END

[tool.mutmut]
# Tests leave children to the process that ran them: a process that counts its own must not be that one.
process_isolation = "forkserver"
# Many a mutant waits for ever, and its test would for minutes.
timeout_multiplier = 3.0
timeout_constant = 5.0
source_paths = ["src/runbus"]
only_mutate = [$mutate]
also_copy = ["docs", "README.md", "CONTRIBUTING.md", "Makefile"]
pytest_add_cli_args_test_selection = [$tests]
pytest_add_cli_args = ["-m", "not services", "-p", "no:cacheprovider"]
END

cd "$folder"
PYTHONPATH=$folder/mutants/src mutmut run --max-children "${JOBS:-2}"
mutmut results
