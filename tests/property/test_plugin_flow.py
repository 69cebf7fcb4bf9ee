"""Whatever plugins need of each other, nobody waits for itself, and every need is kept."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from runbus.hub._flow import START, STOP, waits
from runbus.hub._shelf import Entry
from runbus.plugins import PluginBase, PluginMetadata, PluginType

KINDS = st.sampled_from([*PluginType, PluginType("exporter")])


def entry(name: str, kind: PluginType) -> Entry:
    made = Entry(name, lambda: PluginBase, "")
    made.metadata = PluginMetadata(name, "1", kind)
    return made


@given(kinds=st.lists(KINDS, max_size=8), data=st.data(), ranks=st.sampled_from([START, STOP]))
def test_nobody_waits_for_itself_and_every_need_is_kept(
    kinds: list[PluginType], data: st.DataObject, ranks: dict[PluginType, int]
) -> None:
    entries = [entry(f"p{at}", kind) for at, kind in enumerate(kinds)]
    names = data.draw(st.permutations([one.name for one in entries]))
    # Each needs some of those before it in an order of any kind.
    needs = {
        name: data.draw(st.lists(st.sampled_from(names[:at]), unique=True)) if at else []
        for at, name in enumerate(names)
    }

    waiting = waits(entries, needs, ranks)

    assert all({*needs[name]} <= waiting[name] for name in names)
    done: set[str] = set()
    while ready := [name for name in names if name not in done and waiting[name] <= done]:
        done.update(ready)
    assert done == {*names}
