"""Devices of a simulated market: what their browsers say of themselves, and how alike they are.

An iPhone says its iOS version and one of nine screens: a few dozen kinds share all of them. Android's in-app browsers
name model, build and the browser's full version, which tells most phones apart. Browsers renew themselves while a
person makes up his mind, so that the exact user agent of a conversion need not be the click's.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from processors.simulation.chance import Floats, Ints, Mask, choose, scatter
from processors.simulation.parameters import World

__all__ = ["IPAD", "IPHONE", "Devices", "make_devices", "screens", "user_agents"]

IPHONE, ANDROID, WINDOWS, MAC, IPAD = range(5)
#: Of second devices, in the order above; an Android tablet names its model as a phone does.
SECOND_DEVICES = (0.05, 0.15, 0.48, 0.19, 0.13)
IPHONE_SCREENS = (
    (390, 844),
    (393, 852),
    (430, 932),
    (428, 926),
    (414, 896),
    (375, 812),
    (375, 667),
    (402, 874),
    (440, 956),
)
IPHONE_SCREEN_WEIGHTS = (0.26, 0.20, 0.12, 0.07, 0.13, 0.09, 0.05, 0.05, 0.03)
IOS_VERSIONS = ("18_6", "18_5", "18_3", "17_6", "17_5", "16_7", "15_8")
IOS_WEIGHTS = (0.38, 0.19, 0.09, 0.16, 0.06, 0.08, 0.04)
ANDROID_SCREENS = tuple((width, height) for width in (360, 384, 393, 411, 412, 432) for height in (780, 800, 851, 915))
MONITORS = (
    *((1920, 1080), (1536, 864), (1366, 768), (2560, 1440), (1440, 900), (1280, 720), (1600, 900), (3840, 2160)),
    *((1680, 1050), (1280, 800), (1920, 1200), (3440, 1440), (1707, 1067), (1280, 1024), (2048, 1152), (2195, 1235)),
    *((1505, 1003), (1368, 912), (1745, 982), (1821, 1024), (2560, 1080), (2560, 1600), (1463, 823), (1113, 835)),
)
MAC_SCREENS = ((1440, 900), (1512, 982), (1470, 956), (1728, 1117), (1680, 1050), (2560, 1440))
IPAD_SCREENS = ((820, 1180), (810, 1080), (834, 1194), (1024, 1366), (744, 1133))
#: Of a desktop's pixels, with the zoom its owner likes.
RATIOS = (1.0, 1.25, 1.5, 2.0, 1.1, 0.9, 1.75, 0.8, 1.375, 1.65, 1.2, 1.35)
RATIO_WEIGHTS = (0.40, 0.17, 0.10, 0.07, 0.06, 0.05, 0.04, 0.03, 0.02, 0.02, 0.02, 0.02)
BROWSERS = ("Chrome", "Edge", "Firefox")
BROWSER_WEIGHTS = (0.68, 0.20, 0.12)
#: Browsers renew themselves within this many releases of their coming out.
LATE_RELEASES = 0.7
FIRST_RELEASE = 138
PATCHES = 5


class Devices(NamedTuple):
    """Columns with a row a device. `system` is IPHONE, ANDROID, ...; the others are numbers that render into text."""

    system: Ints
    model: Ints
    build: Ints
    browser: Ints
    screen: Ints
    ratio: Ints
    lateness: Floats

    @property
    def is_ios(self) -> Mask:
        """Shape (devices,)."""
        return np.isin(self.system, (IPHONE, IPAD))


def make_devices(world: World, rng: np.random.Generator, first_is_ios: Mask, others: int) -> Devices:
    """The first device of each person of `first_is_ios`, followed by `others` second ones."""
    system = np.concatenate([np.where(first_is_ios, IPHONE, ANDROID), choose(rng, SECOND_DEVICES, others)])
    count = len(system)
    model = choose(rng, 1 / (10 + np.arange(world.android_models)), count)
    screen = np.select(
        [system == IPHONE, system == ANDROID, system == WINDOWS, system == MAC],
        [
            choose(rng, IPHONE_SCREEN_WEIGHTS, count),
            # A model has one screen, and its owner one of four sizes of text.
            (scatter(model) + choose(rng, (0.7, 0.12, 0.12, 0.06), count)) % len(ANDROID_SCREENS),
            choose(rng, 1 / (1.5 + np.arange(len(MONITORS))), count),
            rng.integers(0, len(MAC_SCREENS), count),
        ],
        rng.integers(0, len(IPAD_SCREENS), count),
    )
    return Devices(
        system=system,
        model=np.where(system == ANDROID, model, choose(rng, IOS_WEIGHTS, count)),
        build=choose(rng, 1 / (2 + np.arange(world.android_builds)), count),
        browser=choose(rng, BROWSER_WEIGHTS, count),
        screen=screen,
        ratio=choose(rng, RATIO_WEIGHTS, count),
        lateness=LATE_RELEASES * rng.random(count) ** 2,
    )


def user_agents(world: World, devices: Devices, of: Ints, day: Floats) -> pa.Array:
    """What the browser of device `of` said on `day` (days since the window began); shape (len(of),)."""
    system, model = devices.system[of], devices.model[of]
    release = np.floor(day / world.browser_release_days + 1 - devices.lateness[of]).astype(np.int64)
    release = np.where(devices.is_ios[of], 0, release)
    patch = scatter(of, release) % PATCHES
    parts = [system, model, devices.build[of], devices.browser[of], release, patch]
    relevant = _RELEVANT[system]
    table = np.stack(parts, axis=1) * relevant
    distinct, inverse = np.unique(table, axis=0, return_inverse=True)
    texts = [_RENDER[row[0]](*row[1:]) for row in distinct.tolist()]
    return pa.array(texts, pa.string()).take(pa.array(inverse.reshape(-1)))


def screens(devices: Devices, of: Ints) -> tuple[Ints, Ints, Floats]:
    """Width and height in CSS pixels and the pixel ratio of device `of`, each of shape (len(of),)."""
    system, screen = devices.system[of], devices.screen[of]
    sizes, ratios = np.zeros((len(of), 2), np.int64), np.full(len(of), 2.0)
    for number, known in _SCREENS.items():
        chosen = system == number
        sizes[chosen] = np.array(known)[screen[chosen] % len(known)]
    ratios[system == IPHONE] = np.where(sizes[system == IPHONE, 1] <= 667, 2.0, 3.0)
    ratios[system == ANDROID] = np.array((2.625, 3.0, 2.0, 2.75))[devices.model[of][system == ANDROID] % 4]
    is_desktop = (system == WINDOWS) | (system == MAC)
    ratios[is_desktop] *= np.array(RATIOS)[devices.ratio[of][is_desktop]] / np.where(system[is_desktop] == MAC, 1, 2)
    return sizes[:, 0], sizes[:, 1], ratios


_SCREENS: Mapping[int, tuple[tuple[int, int], ...]] = {
    IPHONE: IPHONE_SCREENS,
    ANDROID: ANDROID_SCREENS,
    WINDOWS: MONITORS,
    MAC: MAC_SCREENS,
    IPAD: IPAD_SCREENS,
}
#: Which of system, model, build, browser, release and patch a system's browser tells.
_RELEVANT = np.array(
    [
        [1, 1, 0, 0, 0, 0],
        [1, 1, 1, 0, 1, 1],
        [1, 0, 0, 1, 1, 0],
        [1, 0, 0, 1, 1, 0],
        [1, 1, 0, 0, 0, 0],
    ]
)


def _iphone(model: int, build: int, browser: int, release: int, patch: int) -> str:
    version = IOS_VERSIONS[model % len(IOS_VERSIONS)]
    return (
        f"Mozilla/5.0 (iPhone; CPU iPhone OS {version} like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
        f"Version/{version.replace('_', '.')} Mobile/15E148 Safari/604.1"
    )


def _ipad(model: int, build: int, browser: int, release: int, patch: int) -> str:
    return _iphone(model, build, browser, release, patch).replace("iPhone; CPU iPhone OS", "iPad; CPU OS")


def _android(model: int, build: int, browser: int, release: int, patch: int) -> str:
    return (
        f"Mozilla/5.0 (Linux; Android {13 + model % 3}; SM-{chr(65 + model % 7)}{100 + model} "
        f"Build/UP1A.{231005 + build}; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 "
        f"Chrome/{FIRST_RELEASE + release}.0.{7204 + release}.{40 + patch} Mobile Safari/537.36"
    )


def _windows(model: int, build: int, browser: int, release: int, patch: int) -> str:
    return _desktop("Windows NT 10.0; Win64; x64", browser, release)


def _mac(model: int, build: int, browser: int, release: int, patch: int) -> str:
    if BROWSERS[browser] == "Chrome":
        return _desktop("Macintosh; Intel Mac OS X 10_15_7", browser, release)
    return (
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) "
        f"Version/18.{browser} Safari/605.1.15"
    )


def _desktop(system: str, browser: int, release: int) -> str:
    version = FIRST_RELEASE + release
    if BROWSERS[browser] == "Firefox":
        return f"Mozilla/5.0 ({system}; rv:{version}.0) Gecko/20100101 Firefox/{version}.0"
    edge = f" Edg/{version}.0.0.0" if BROWSERS[browser] == "Edge" else ""
    return f"Mozilla/5.0 ({system}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{version}.0.0.0 Safari/537.36{edge}"


_RENDER: Mapping[int, Callable[[int, int, int, int, int], str]] = {
    IPHONE: _iphone,
    ANDROID: _android,
    WINDOWS: _windows,
    MAC: _mac,
    IPAD: _ipad,
}
