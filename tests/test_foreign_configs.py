"""Configurations that somebody changed: each is read, or is a `ValueError`."""

from random import Random

import pytest
from catalog import CATALOG, SCHEDULES
from mutations import mutated
from problems import small
from rows import row as functions_of_rows

import gradxform as gx

FUNCTIONS = {
    name: x for name, x in vars(functions_of_rows).items() if callable(x) and name[0] != "_"
}
EACH = 12  # changes of each configuration


@pytest.mark.filterwarnings("ignore")  # such as NumPy's, for numbers that do not fit
def test_a_changed_configuration_is_read_or_refused() -> None:
    random = Random(0)
    read, messages = 0, []
    rows = [row.build() for row in CATALOG] + [gx.sgd(row.build()) for row in SCHEDULES]
    for tx in rows:
        data = gx.to_config(tx)
        for _ in range(EACH):
            changed = mutated(data, random)
            try:
                found = gx.from_config(changed, functions=FUNCTIONS)
            except ValueError as error:
                messages.append(str(error))
                continue
            read += 1
            assert repr(found)
            assert gx.from_config(gx.to_config(found, functions=FUNCTIONS), functions=FUNCTIONS)
            if read % 25 == 0:
                assert str(gx.diagnose(found, small(), total_steps=100))
    assert min(read, len(messages)) > 100
    for message in messages:
        assert message.startswith("`from_config(...)`: ")
        assert len(message) < 3000
        assert message.replace("\n", "").isprintable()
