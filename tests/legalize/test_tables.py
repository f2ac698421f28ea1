"""What targets say they lack, and what there are rules for, bear the same names."""

from onnx_opt.target import TARGETS
from onnx_opt_passes.steps import unread_results
from onnx_opt_rules.legalize import FLOATS, GROUPS, groups_for, helps


def test_every_form_that_a_target_lacks_has_rules():
    lacking = {form for target in TARGETS.values() for form in target.lacks_forms}
    assert lacking and all(helps(form) or form == unread_results.FORM for form in lacking)


def test_every_rule_is_for_something_that_a_target_lacks():
    lacking = {name for target in TARGETS.values() for name in (*target.lacks, *target.lacks_forms)}
    assert {name for group in GROUPS for name in group} <= lacking | FLOATS


def test_targets_that_take_everything_need_no_rules():
    complete = [target for target in TARGETS.values() if not target.is_restricted and target.dtypes >= FLOATS]
    assert complete and not any(list(groups_for(target)) for target in complete)
