"""Simulated nights of some servers, as counts: what the gate's tests, and the study of its power, judge.

A healthy server's failure ratio follows the weekday and differs from night to night by some 15 % besides; now and then
a few clients are in a retry loop and fail hundreds of times. Counts per client are drawn, in place of handshakes: what
`nights.summary` works from.
"""

from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from tlspcap.nightly.nights import summary

FIRST = pd.Timestamp("2026-01-05")  # a Monday
WEEKLY = np.array([1.0, 0.95, 1.0, 1.05, 1.1, 1.5, 1.6])  # the failure ratio of weekdays, as multiples
CLIENTS = 100
BETWEEN = 0.15  # standard deviation of the logarithm of a healthy server's ratio between nights of one weekday
LOOPS = 0.15  # of the nights of a server have clients in a retry loop
MEDIAN_MS, SPREAD, WOBBLE = 20.0, 0.5, 0.05  # durations: median, spread within a night, and of medians between nights


@dataclass
class Servers:
    """Servers and what they are like; `nights` draws their nights, one after another."""

    random: np.random.Generator
    ratios: np.ndarray  # failure ratio of each on a Monday
    size: int  # handshakes of each, a night
    loops: bool = True
    day: int = field(default=0, init=False)

    def nights(self, count: int, times: float = 1.0, slower: float = 1.0) -> pd.DataFrame:
        """Draw the next nights; in them the first server fails `times` as often and takes `slower` times as long."""
        shape = (count, len(self.ratios))
        change, slow = np.ones(shape[1]), np.ones(shape[1])
        change[0], slow[0] = times, slower
        weekly = WEEKLY[(self.day + np.arange(count)) % 7, None]
        ratio = self.ratios * change * weekly * self.random.lognormal(0, BETWEEN, shape)
        decided = self.random.multinomial(self.size, np.full(CLIENTS, 1 / CLIENTS), shape)
        failed = self.random.binomial(decided, np.minimum(ratio, 1.0)[..., None])
        for place in np.argwhere(self.random.random(shape) < LOOPS * self.loops):
            clients = self.random.integers(0, CLIENTS, self.random.integers(1, 4))
            more = self.random.integers(self.size // 50, self.size // 5, len(clients))
            np.add.at(decided[tuple(place)], clients, more)
            np.add.at(failed[tuple(place)], clients, more)
        medians = MEDIAN_MS * slow * self.random.lognormal(0, WOBBLE, shape)
        medians *= self.random.lognormal(0, SPREAD * 1.2533 / np.sqrt((decided - failed).sum(axis=2)))
        table = self._summed(decided, failed, medians)
        self.day += count
        return table

    def _summed(self, decided: np.ndarray, failed: np.ndarray, p50: np.ndarray) -> pd.DataFrame:
        nights, servers = p50.shape
        dates = np.array([str((FIRST + pd.Timedelta(days=self.day + night)).date()) for night in range(nights)])
        names = np.array([f"10.0.0.{server + 1}:443" for server in range(servers)])
        clients = pd.DataFrame({
            "date": dates.repeat(servers * CLIENTS), "server": np.tile(names.repeat(CLIENTS), nights),
            "client_ip": np.tile(np.arange(CLIENTS), nights * servers), "n": decided.ravel(),
            "established": (decided - failed).ravel(), "failed": failed.ravel(),
        })  # fmt: skip
        p95 = (p50 * np.exp(1.645 * SPREAD)).ravel()
        times = pd.DataFrame({"date": dates.repeat(servers), "server": np.tile(names, nights), "p50": p50.ravel(),
                              "timed": (decided - failed).sum(axis=2).ravel(), "p95": p95, "p99": p95})  # fmt: skip
        return summary(clients[clients["n"] > 0], times)
