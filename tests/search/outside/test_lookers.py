"""One looker for each campaign that is asked about, and an agent's look is through it."""

from dataclasses import replace

from search.config import CampaignConfig
from search.outside.gateway import Gateway
from search.outside.lookers import Lookers
from search.outside.tools import answer
from search.records import Measurement


class Seeing:
    """Looks at nothing and says what a look gives."""

    def __init__(self, config):
        self.config, self.texts, self.is_closed = config, [], False

    def look(self, text, values):
        self.texts.append(text)
        return tuple(Measurement(name, 0.5) for name in ("mass", "oracle_mass", "random_mass"))

    def statistics(self):
        names = ("k_norm", "q_norm", "largest_channels", "mean_key", "between_pages", "first_page_mass")
        names += ("last_pages_mass", *(f"quarter_{each}" for each in range(1, 5)))
        return tuple(Measurement(f"{name}_layer_{layer}", 0.25 * layer) for name in names for layer in range(2))

    def close(self):
        self.is_closed = True


def test_each_campaign_has_one_and_all_are_closed():
    lookers, config = Lookers(Seeing), CampaignConfig()
    first = lookers.of(config)
    assert lookers.of(CampaignConfig()) is first
    other = lookers.of(replace(config, seed=9))
    assert other.config.seed == 9
    lookers.close()
    assert first.is_closed
    assert other.is_closed
    assert lookers.of(config) is not first


def test_a_look_is_through_the_campaigns_looker(ledger, running, text_of):
    lookers = Lookers(Seeing)
    gateway = Gateway(ledger, "claude", lookers=lookers)
    told = answer(gateway, "look", {"program": text_of(1)}).text
    config = CampaignConfig.from_json(running.settings)
    assert text_of(1) in lookers.of(config).texts
    assert "keeps 0.500 of the model's attention" in told


def test_a_brief_tells_what_was_recorded_of_the_model(ledger, running):
    told = Gateway(ledger, "claude", lookers=Lookers(Seeing)).brief().text
    assert "As recorded, keys have a norm of 0.12 (0.00 in layer 0 to 0.25 in layer 1)" in told
    assert "As recorded" not in Gateway(ledger, "claude").brief().text
