#!/bin/sh
# A wheel that is built from the source distribution, by Rust and Python alone, runs a job under the
# wrapper program that it carries, and carries what samples the machine beside one.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
maturin sdist --out "$folder"
python -m pip wheel --quiet --no-cache-dir --no-deps --no-build-isolation --wheel-dir "$folder" "$folder"/*.tar.gz
python -m pip install --quiet --no-deps --target "$folder/installed" "$folder"/*.whl
cd "$folder"
# Before this checkout, which is installed, too.
export PYTHONPATH="$folder/installed" RUNBUS_HOME="$folder/home"
python -c 'import runbus, sys; sys.exit(not runbus.__file__.startswith(sys.argv[1]))' "$folder"
echo 'print("it runs")' >job.py
python -m runbus.cli run job.py
grep -rlF '"by":"program"' --include=exit.json "$RUNBUS_HOME" >/dev/null
python -c 'import runbus.attempt, sys; sys.exit(runbus.attempt.sampler_program() is None)'
echo 'the wheel from the source distribution runs jobs under its own program, and can sample them'
