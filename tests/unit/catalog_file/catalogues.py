"""Random catalogues, with the texts and ids that a careless writer of YAML gets wrong."""

from __future__ import annotations

from hypothesis import strategies as st

from phimage.control_characters import Allowed, find_control
from phimage.model.ids import ClusterId, ImageId, MachineTypeId, RegionId, ZoneId
from phimage.model.image import LABEL_KEY, NO_PROJECT, Image, ImageType, State
from phimage.model.topology import Cluster, Cpu, DiskGroup, Gpu, MachineType, Offer, Region, Topology, Zone, topology

Catalogue = tuple[Topology, tuple[Image, ...]]

ODD = (
    *("", " ", "  ", "\n", "\t", "~", "null", "Null", "yes", "No", "on", "y", "true", "FALSE", "=", "<<", "-", "---", "..."),
    *("1e3", "8.10", ".5", "5.", "0x1F", "0o17", "017", "1_000", "+5", "-5", "1:30", "190:20:30.15", ".inf", "-.Inf", ".NaN"),
    *("2026-11-01", "2026-11-01T00:00:00Z", "2026-1-1 10:00", "'", '"', "it's", 'say "hi"', "\\", "\\n", "a\\", "a: b", "a:"),
    *(
        ":a",
        "a #b",
        "#a",
        "a#b",
        " a",
        "a ",
        "a  b",
        "- a",
        "? a",
        "a?",
        "[a]",
        "{a}",
        "a, b",
        "a]",
        "&a",
        "*a",
        "!a",
        "|",
        ">",
    ),
    *("%a", "@a", "`a", "a\nb", "a\n", "\na", "a\n\nb", "a\n b", " a\nb", "a\r\nb", "a\rb", "a\tb", "a\nb\n", "a \nb", "a\n#b"),
    *("a\x85b", "a\u2028b", "a\u2029b", "\x1b[31m", "\x7f", "\x01", "\ufeffa", "a\u00a0b", "\u202eabc", "\u200bx", "a\u3000b"),
    *("👩‍💻", "𝔸", "上海", "华北（北京）", "\uffff"),
    *("long " * 40, "长" * 200, "a  b " * 40, "word" * 60, "# " * 70, ("- a: b " * 20).strip(), "x\ny " * 30),
)

ids = st.sampled_from(
    ["no", "null", "True", "1e3", "8.10", "123", "0x1F", "2026-11-01", "1G", "10G", "25G", "y"]
) | st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9._-]{0,8}\Z")


def texts(longest: int = 255, shortest: int = 0, allowed: Allowed = "none") -> st.SearchStrategy[str]:
    """Texts that a catalogue can hold."""
    odd = [text[:longest] for text in ODD if len(text) >= shortest and not find_control(text, allowed)]
    characters = st.characters(exclude_categories=["Cs"], exclude_characters="\0").filter(
        lambda character: not find_control(character, allowed)
    )
    return st.sampled_from(odd) | st.text(characters, min_size=shortest, max_size=min(longest, 40))


def _some(strategy: st.SearchStrategy[str], limit: int) -> st.SearchStrategy[list[str]]:
    return st.lists(strategy, unique=True, max_size=limit)


@st.composite
def catalogues(draw: st.DrawFn) -> Catalogue:
    """A catalogue that keeps all rules."""
    clusters = [ClusterId(id) for id in draw(_some(ids, 3))]
    regions = [RegionId(id) for id in draw(_some(ids, 3))]
    zones = [ZoneId(id) for id in draw(_some(ids, 4))] if regions else []
    kinds = [MachineTypeId(id) for id in draw(_some(ids, 3))]
    numbers = draw(st.lists(st.integers(1, 2**31 - 1), unique=True, min_size=len(regions), max_size=len(regions)))
    pairs = [(zone, cluster) for zone in zones for cluster in clusters]
    offers = [
        Offer(kind, zone, cluster, draw(st.integers(0, 2**31 - 1)))
        for kind in kinds
        for zone, cluster in (draw(st.lists(st.sampled_from(pairs), unique=True)) if pairs else [])
    ]
    places = topology(
        regions=[Region(id, numbers[at], draw(texts()), draw(texts()), default=at == 0) for at, id in enumerate(regions)],
        zones=[Zone(id, draw(st.sampled_from(regions)), draw(texts()), draw(texts())) for id in zones],
        clusters=[Cluster(id, draw(texts()), default=at == 0) for at, id in enumerate(clusters)],
        machine_types=[draw(_machine_type(id)) for id in kinds],
        offers=offers,
    )
    names = draw(_some(st.from_regex(r"\Apimg-[a-z0-9]{1,3}-[a-z0-9]{4}\Z"), 4))
    return places, tuple(draw(_image(ImageId(name), zones, kinds, clusters)) for name in names)


@st.composite
def _machine_type(draw: st.DrawFn, id: MachineTypeId) -> MachineType:
    frequency = draw(st.from_regex(r"\A[0-9]{1,2}(\.[0-9]{1,3})?\Z"))
    gpu = Gpu(draw(texts()), draw(st.integers(1, 64)), draw(texts()), draw(texts()))
    disk = st.builds(
        DiskGroup,
        st.sampled_from(["system", "data"]),
        texts(),
        st.integers(1, 1_000_000),
        st.integers(1, 1000),
        texts(),
        st.integers(0, 2**31 - 1),
    )
    return MachineType(
        id=id,
        name_zh=draw(texts()),
        name_en=draw(texts()),
        disk_class=draw(st.sampled_from(["LocalDisk", "CloudDisk"])),
        cpu=Cpu(draw(texts()), frequency, draw(st.integers(1, 64)), draw(st.integers(1, 4096))),
        memory=draw(st.integers(1, 1_000_000)),
        disks=tuple(draw(st.lists(disk, max_size=3))),
        gpu=draw(st.sampled_from([None, gpu])),
        raid_supported=draw(st.booleans()),
        scenes=tuple(draw(st.lists(texts(), max_size=3))),
    )


@st.composite
def _image(draw: st.DrawFn, id: ImageId, zones: list[ZoneId], kinds: list[MachineTypeId], clusters: list[ClusterId]) -> Image:
    supported = draw(st.lists(st.sampled_from(kinds), unique=True)) if kinds else []
    return Image(
        id=id,
        type=ImageType.BASE,
        project=NO_PROJECT,
        family=draw(st.just("") | st.from_regex(r"\A[a-z0-9][a-z0-9.-]{0,12}\Z")),
        name=draw(texts(128, 1)),
        os_type=draw(texts(64, 1)),
        os_name=draw(texts(128, 1)),
        version=draw(texts(64)),
        description=draw(texts(1024, allowed="lines")),
        state=draw(st.sampled_from(State)),
        deprecated=draw(st.booleans()),
        size=draw(st.integers(0, 2**31 - 1)),
        created=draw(st.integers(0, 253_402_300_799)),
        zones=tuple(draw(st.lists(st.sampled_from(zones), unique=True))) if zones else (),
        support={kind: tuple(draw(st.lists(st.sampled_from(clusters), unique=True))) if clusters else () for kind in supported},
        deprecation_time=draw(st.just(0) | st.integers(1, 253_402_300_799)),
        labels=draw(st.dictionaries(st.from_regex(LABEL_KEY.replace("$", r"\Z"), fullmatch=True), texts(128), max_size=3)),
    )
