import numpy as np

from openmm_confgf.report.conformations import library_page, weights_of
from openmm_confgf.report.statement import unweighed, weighed
from openmm_confgf.reweighting import reweight


def facts_of(statement):
    return {fact.label: fact for fact in statement.facts}


def test_weights_that_can_be_trusted_say_why(peroxide_samples):
    found = reweight(peroxide_samples)
    said, facts = weighed(found), facts_of(weighed(found))
    assert said.tone == "good" and said.headline.startswith("These averages can be trusted where the generator has samples, because k-hat")
    assert said.headline.endswith(found.diagnostics.reason) and found.diagnostics.verdict.endswith(found.diagnostics.reason)
    assert facts["effective samples (ESS)"].value == f"{found.diagnostics.ess:,.0f} of 4,000"
    assert facts["bad samples"].value == "none" and not facts["bad samples"].bad
    assert facts["k-hat"].value.startswith(f"{found.diagnostics.k_hat:.2f}, within")


def test_weights_of_few_samples_cannot_be_trusted_and_bad_ones_are_counted(peroxide_samples):
    energy = peroxide_samples.energy[:60].copy()
    energy[:3] = np.nan
    said = weighed(weights_of(peroxide_samples[:60].replace(energy=energy)))
    assert said.tone == "bad" and said.headline.startswith("These averages cannot be trusted, because 57 samples with a weight are fewer")
    facts = facts_of(said)
    assert facts["bad samples"].value == "3 (3 NON_FINITE)" and facts["bad samples"].bad
    assert facts["samples without weight"].value == "3" and facts["effective samples (ESS)"].value == "withheld"
    assert facts["k-hat"].value == "unknown: too few samples"


def test_conformers_have_no_averages_and_say_why(butanol, peroxide_samples):
    said = unweighed(butanol, weights_of(butanol))
    assert said.tone == "plain" and "There are no weights" in said.headline and "there is no log q" in said.headline
    assert facts_of(said)["bad samples"].value == "1 (1 NON_FINITE)"
    assert "no temperature" in weights_of(peroxide_samples.replace(target=None)).lower() or "K" in weights_of(
        peroxide_samples.replace(target=None)
    )


def test_frames_tell_whether_their_replicas_agree(butanol):
    facts = facts_of(unweighed(butanol.replace(diagnostics={"r_hat_energy": 1.002, "r_hat_torsions": 1.3}), "none"))
    assert facts["R-hat of energies"].value == "1.002, within 1.01 is good" and not facts["R-hat of energies"].bad
    assert facts["R-hat of torsions"].bad


def test_a_library_counts_what_can_be_trusted(peroxide_samples):
    good = library_page([peroxide_samples, peroxide_samples], "both").statement
    mixed = library_page([peroxide_samples, peroxide_samples[:50]], "one").statement
    assert good.tone == "good" and "2 of 2 molecules" in good.headline
    assert mixed.tone == "bad" and "1 of 2 molecules" in mixed.headline
