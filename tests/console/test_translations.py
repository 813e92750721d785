"""Chinese pages of failures, findings and refusals: no sentence of the API stays English."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape

import pytest
import requests
from msgspec.structs import replace

from phimage import demo
from phimage.catalog.image_bytes import IMAGE_BYTES
from phimage.console.change_kinds import KINDS
from phimage.console.session import ConsoleSession
from phimage.fields import fields_of
from phimage.installation import command_author, open_catalog, recover_operator_key
from phimage.model.ids import AccountId
from phimage.settings import Settings
from tests.console.conftest import OPERATOR, TENANT
from tests.console.pages import PAGES, LookedAt
from tests.console.site import COOKIE, ConsoleSite, serving
from tests.console.visitor import Visitor, main

ZONE = "cn-bj2-02"
ENGLISH = re.compile(r"\b[a-z]+ (?:[a-z]+ ){2,}[a-z]+")
"""Four words in a row."""
OF_PEOPLE = ("the front end of the shop", "custom image of the demonstration")
"""Descriptions of images."""


def english(page: str) -> list[str]:
    """What is English in the content of a page, beside commands and programs."""
    shown = re.sub(r"<(pre|code|script|option)\b.*?</\1>", " ", main(page), flags=re.DOTALL)
    marked = re.findall(r'<[^>]*lang="en"[^>]*>[^<]*', shown)
    found = marked + ENGLISH.findall(unescape(re.sub(r"<[^>]*>", "\n", shown)))
    return [text for text in found if text not in OF_PEOPLE]


def visitor(site: ConsoleSite, who: str) -> Visitor:
    return Visitor(site.url, Cookie=f"{COOKIE}={who}", **{"Accept-Language": "zh"})


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_has_no_english_sentence(site: ConsoleSite, page: LookedAt) -> None:
    response = site.get(f"{page.path}{'&' if '?' in page.path else '?'}lang=zh", page.who)

    assert 'lang="zh' in response.text
    assert english(response.text) == []


FINDINGS = (
    "gpt.backup-elsewhere: it is at sector 16383; the last sector is 20479",
    "disk.truncated: partition 2 ends at byte 8589934592, the disk at byte 4294967296",
    "hygiene.machine-id: /etc/machine-id",
    "hygiene.tokens: /root/.netrc, /root/.pgpass, /root/.vault-token, /home/a/.netrc, /home/b/.netrc and 2 more",
    "hygiene.unread: xfs in partition 2",
)
STRANGE = "size.odd: a remark of a later version"


@pytest.fixture(scope="module")
def examined(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ConsoleSite]:
    """A console with an image that has findings, one of them without a translation."""
    settings = Settings(data_dir=str(tmp_path_factory.mktemp("examined") / "data"))
    operator = demo.fill(settings) or recover_operator_key(settings)
    catalog = open_catalog(settings)
    with catalog.change(command_author("Test")) as change:
        image_bytes = IMAGE_BYTES.find(change.connection, demo.WITH_DISK)
        assert image_bytes is not None
        IMAGE_BYTES.put(change, replace(image_bytes, findings=(*FINDINGS, STRANGE)))
    catalog.database.close()
    with serving(settings) as found:
        account = AccountId("operator")
        found.sessions.by_cookie[OPERATOR] = ConsoleSession(operator.public, account, "main", True, "token-of-operator")
        yield found


def test_the_findings_of_an_image_are_said_in_chinese_and_one_without_a_translation_is_marked(examined: ConsoleSite) -> None:
    page = examined.get(f"/console/images/{demo.WITH_DISK}?lang=zh", OPERATOR).text

    assert "gpt.backup-elsewhere：它在扇区 16383；最后一个扇区是 20479" in page
    assert "/home/b/.netrc 等，另有 2 个" in page
    assert "未能扫描的文件系统：分区 2 上的 xfs" in page
    assert english(page) == [f'<span lang="en">{STRANGE}', "a remark of a later version"]
    assert 'lang="en"' not in main(examined.get(f"/console/images/{demo.WITH_DISK}?lang=en", OPERATOR).text)


def test_a_failed_publication_is_explained_wherever_it_is_shown(site: ConsoleSite) -> None:
    image = "pimg-os-old5r7uc"
    jobs = site.get("/console/jobs?State=Failed&lang=zh", OPERATOR).text
    (job,) = re.findall(rf'href="(/console/jobs/[^"]+)">[^<]*</a><div class="sub">{image}', jobs)
    image_list = f"/console/images?Zone={ZONE}&State=Unavailable&ImageType=Custom&ProjectId=org-xyz"

    assert "该镜像由运营方发布，原因请询问运营方" in site.get("/console/jobs?ProjectId=org-xyz&lang=zh", TENANT).text
    (revision, *_) = re.findall(r'href="(/console/log/\d+)"', site.get(f"/console/log?id={image}", OPERATOR).text)
    for path in ("/console/", image_list, job, f"/console/images/{image}", revision):
        page = site.get(f"{path}{'&' if '?' in path else '?'}lang=zh", OPERATOR).text
        assert re.search(r"kernel-lab-old\.raw：它的 \d+ 字节的摘要是 sha256:\w+，预期是 sha256:0+（直接给出）", page), path
        assert english(page) == [], path
        page = site.get(f"{path}{'&' if '?' in path else '?'}lang=en", OPERATOR).text
        assert re.search(r"kernel-lab-old\.raw: its \d+ bytes have sha256:\w+, expected was", page), path


def test_the_record_of_a_failed_publication_that_would_be_withdrawn_is_said_in_chinese(site: ConsoleSite) -> None:
    shown = visitor(site, OPERATOR).look("withdraw-image", ImageId="pimg-os-old5r7uc").text

    assert "预期是 sha256:0" in shown
    assert english(shown) == []


@pytest.mark.parametrize("who", [OPERATOR, TENANT])
@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("value", ["", "x1", "!!\t"])
def test_a_refused_form_has_no_english_sentence(site: ConsoleSite, who: str, name: str, value: str) -> None:
    form = {field.name: value for field in fields_of(KINDS[name].action)} if value else {}

    check_refused(visitor(site, who).look(name, **form, _days="1"))


@pytest.mark.parametrize(
    ("name", "form", "chinese"),
    [
        ("create-account", {"Account": "demo"}, "已有账户 demo"),
        ("create-account", {"Account": "new", "ZoneLimit": "moon-01"}, "没有可用区 moon-01；应为可用区，或 any"),
        ("create-account", {"Account": "new", "NetworkLimit": "10.0.0.1/8"}, "10.0.0.1/8 含有主机位；应为网段"),
        ("create-account", {"Account": "new", "NetworkLimit": "office"}, "&#39;office&#39; 不是 IPv4 或 IPv6 网段"),
        ("create-user", {"Account": "demo", "User": "main"}, "账户 demo 已有用户 main"),
        ("remove-user", {"Account": "demo", "User": "main"}, "账户的主用户不能移除；请改为吊销它的密钥"),
        ("remove-project", {"Account": "demo", "ProjectId": "org-default"}, "账户的默认项目不能移除"),
        (
            "set-member",
            {"Account": "demo", "ProjectId": "org-default", "User": "main", "Role": "boss"},
            "以下之一：viewer, editor",
        ),
        ("set-quota", {"Project": "org-none", "_gib": "1"}, "没有项目 org-none"),
        ("edit-image", {"ImageId": "pimg-os-web7k2ma", "Label": "TEAM", "_Label": "1"}, "应为 key=value，其中 key 是"),
        ("deprecate-image", {"ImageId": "pimg-os-web7k2ma", "Successor": "pimg-os-web7k2ma"}, "镜像不能替代自己"),
        ("restore-image", {"ImageId": "pimg-os-web7k2ma"}, "pimg-os-web7k2ma 没有撤回：它的状态是可用"),
        ("withdraw-image", {"ImageId": "pimg-none"}, "没有可以撤回的镜像 pimg-none"),
        ("cancel-job", {"JobId": "job-none"}, "没有任务 job-none"),
        ("revoke-key", {"AccessKey": "ucloud"}, "没有这个密钥，或它已被吊销"),
        ("release-host", {"PHostId": "upm-none"}, "没有主机 upm-none"),
        ("assign-host", {"PHostId": "upm-stopped1", "ProjectId": "org-xyz"}, "请先收回它"),
    ],
)
def test_a_refusal_of_an_operator_is_said_in_chinese(site: ConsoleSite, name: str, form: dict[str, str], chinese: str) -> None:
    shown = visitor(site, OPERATOR).look(name, **form)

    check_refused(shown)
    assert chinese in main(shown.text)


PUBLICATION = {
    "Name": "new",
    "OsType": "Debian",
    "OsName": "Debian 12",
    "ImageType": "Custom",
    "ProjectId": "org-default",
    "Zone": ZONE,
    "Support": "DB-2:10G",
    "_from": "url",
    "Url": "https://images.example.com/a.raw",
    "_verify": "digest",
    "Digest": f"sha256:{'a' * 64}",
}


@pytest.mark.parametrize(
    ("changed", "chinese"),
    [
        ({"Digest": "md5"}, "md5：它不是摘要；请给出 sha256:"),
        ({"Digest": "d" * 32}, "MD5 不再安全"),
        ({"Digest": ""}, "请给出 Digest、ChecksumUrl 或 TrustFirstUse"),
        ({"Url": "ftp://a.example/x"}, "不支持协议 &#39;ftp&#39;；请给出 http:// 或 https:// 的 URL"),
        ({"Url": "https://me:secret@a.example/x"}, "其中含有凭据"),
        ({"Url": "http://10.0.0.1/x"}, "10.0.0.1 不在公共互联网上；请给出其他 URL"),
        ({"Url": "http://a.example:99/x"}, "不允许端口 99，只允许 80, 443"),
        ({"Support": "moon"}, "没有机型 moon"),
        ({"Support": "DB-2:9G"}, "没有网络集群 9G；现有："),
        ({"Zone": "moon-01"}, "没有可用区 moon-01"),
        ({"Label": "UPPER=1"}, "应为 key=value，其中 key 是 1 到 63 个小写字母或数字"),
        ({"ProjectId": "org-none"}, "没有项目 [org-none]"),
        ({"ImageType": "Base"}, "ImageType Base 需要运营方账户的密钥"),
        ({"Name": ""}, "缺少参数 [Name]"),
        ({"Name": "n" * 300}, "最多 128 个字符"),
        ({"Name": "a\u202eb"}, "文本不能含有控制字符 U+202E；请去掉它"),
    ],
)
def test_a_refused_publication_is_said_in_chinese(site: ConsoleSite, changed: dict[str, str], chinese: str) -> None:
    someone = visitor(site, TENANT)
    shown = someone.post("/console/publish", {"_token": someone.token, **PUBLICATION, **changed})

    (refusal,) = re.findall(r"<p data-refusal>.*?</p>", shown.text, flags=re.DOTALL)
    assert english(f"<main>{refusal}</main>") == []
    assert chinese in re.sub(r"</?(p|span)\b[^>]*>", "", refusal)


def test_the_first_bytes_of_a_file_are_judged_in_chinese(site: ConsoleSite) -> None:
    someone = visitor(site, OPERATOR)
    headers = {"Sec-Fetch-Site": "same-origin", "Origin": "null", "X-Phimage-Token": someone.token}

    def findings(head: bytes) -> list[tuple[str, str, str]]:
        found = someone.post("/console/publish/head?FileName=a.raw&Size=1048576", head, headers=headers)
        return [(finding["Id"], finding["Text"], finding["Lang"]) for finding in found.json()["Findings"]]

    page = "文件：它是 HTML 网页，不是镜像：<html>404</html>；请用 curl 检查该 URL 返回什么"
    assert findings(b"<html>404</html>") == [("", page, "")]
    assert findings(b"7z\xbc\xaf\x27\x1c" + bytes(4096)) == [("format.archive", "format.archive：归档文件：7z", "")]


def check_refused(shown: requests.Response) -> None:
    assert shown.status_code in (400, 403, 404), shown.text
    assert english(shown.text) == []
