"""URLs and addresses that must not be dialled, and some that may."""

from __future__ import annotations


def words(text: str) -> list[str]:
    return text.split()


#: An address of every kind that is refused, at both ends of each network where that is easy to get wrong.
REFUSED_ADDRESSES = words("""
    0.0.0.0 0.0.0.1 0.255.255.255
    10.0.0.0 10.0.0.1 10.255.255.255
    100.64.0.0 100.64.0.1 100.100.100.200 100.127.255.255
    127.0.0.0 127.0.0.1 127.0.0.53 127.1.2.3 127.255.255.255
    169.254.0.0 169.254.0.1 169.254.169.254 169.254.170.2 169.254.255.255
    172.16.0.0 172.16.0.1 172.17.0.1 172.31.255.255
    192.0.0.0 192.0.0.1 192.0.0.8 192.0.0.170 192.0.0.192 192.0.0.255
    192.0.2.0 192.0.2.1 192.0.2.255
    192.31.196.1 192.52.193.1 192.175.48.1
    192.88.99.0 192.88.99.1 192.88.99.255
    192.168.0.0 192.168.0.1 192.168.1.1 192.168.255.255
    198.18.0.0 198.18.0.1 198.19.255.255
    198.51.100.0 198.51.100.1 198.51.100.255
    203.0.113.0 203.0.113.1 203.0.113.255
    224.0.0.0 224.0.0.1 224.0.0.251 239.255.255.250 239.255.255.255
    240.0.0.0 240.0.0.1 254.255.255.255 255.255.255.254 255.255.255.255
    :: ::1 ::2 ::7f00:1 ::127.0.0.1 ::8.8.8.8 ::ffff:7f00:1
    ::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:169.254.169.254 ::ffff:192.168.0.1 ::ffff:8.8.8.8 ::ffff:0.0.0.0
    ::ffff:0:127.0.0.1 ::ffff:0:8.8.8.8
    64:ff9b::7f00:1 64:ff9b::127.0.0.1 64:ff9b::10.0.0.1 64:ff9b::169.254.169.254 64:ff9b::8.8.8.8
    64:ff9b:1::1 64:ff9b:1::127.0.0.1 64:ff9b:1:ffff::10.0.0.1 64:ff9b:2::1
    100:: 100::1 100::ffff:ffff:ffff:ffff 100:0:0:1::1
    2001:: 2001::1 2001:0:7f00:1::1 2001:0:4136:e378:8000:63bf:3fff:fdd2 2001:0:a9fe:a9fe::1
    2001:1::1 2001:2::1 2001:3::1 2001:4:112::1 2001:10::1 2001:1f:ffff::1 2001:20::1 2001:2f:ffff::1
    2001:30::1 2001:1ff:ffff::1
    2001:db8:: 2001:db8::1 2001:db8:ffff:ffff:ffff:ffff:ffff:ffff
    2002:: 2002:7f00:1:: 2002:7f00:1::1 2002:a00:1::1 2002:a9fe:a9fe::1 2002:c0a8:1::1 2002:808:808::1
    2620:4f:8000::1
    3fff:: 3fff::1 3fff:fff:ffff::1
    4000::1 5f00::1 5f00:ffff::1 6000::1 8000::1 e000::1 fb00::1
    fc00:: fc00::1 fd00::1 fd00:ec2::254 fd12:3456:789a::1 fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff
    fe00::1 fe80:: fe80::1 fe80::a9fe:a9fe febf::1
    fe80::1%eth0 fe80::1%1 fe80::1%25eth0 2606:4700::1%eth0
    fec0:: fec0::1 feff::1
    ff00:: ff01::1 ff02::1 ff02::fb ff05::1:3 ff0e::1
    2606:4700::5efe:127.0.0.1 2606:4700::5efe:10.0.0.1 2606:4700::200:5efe:192.168.0.1
    2606:4700:0:0:0:5efe:169.254.169.254
""")

PUBLIC_ADDRESSES = words("""
    1.1.1.1 8.8.8.8 9.255.255.255 11.0.0.0 100.63.255.255 100.128.0.0 126.255.255.255 128.0.0.0
    169.253.255.255 169.255.0.0 172.15.255.255 172.32.0.0 191.255.255.255 192.0.1.0 192.0.3.0 192.88.98.255
    192.88.100.0 192.167.255.255 192.169.0.0 198.17.255.255 198.20.0.0 198.51.99.255 198.51.101.0
    203.0.112.255 203.0.114.0 223.255.255.255
    2000::1 2001:200::1 2001:4860:4860::8888 2001:db7:ffff::1 2001:db9::1 2003::1 2606:4700:4700::1111
    2a00:1450:4001:80b::200e 3ffe::1 2606:4700::5efe:8.8.8.8
""")

#: URLs that are refused for how they are written, whatever they would lead to.
REFUSED_URLS = [
    *words("""
    ftp://example.com/ file:///etc/passwd gopher://example.com/ data:text/plain,hi javascript:alert(1)
    unix:///run/x.sock ws://example.com/ example.com //example.com/ https:example.com https:/example.com
    https:// https:///path https://:443/ https://?x https://#x
    https://example.com./ https://localhost./ https://127.0.0.1./ https://example.com.:443/
    https://user@example.com/ https://user:pass@example.com/ https://@example.com/ https://:@example.com/
    https://example.com@127.0.0.1/ https://127.0.0.1@example.com/ https://example.com:443@127.0.0.1/
    https://2130706433/ https://017700000001/ https://0x7f000001/ https://0x7f.0.0.1/ https://0177.0.0.1/
    https://127.1/ https://127.0.1/ https://10.1/ https://0/ https://0x0/ https://0x/ https://00000000/
    https://127.0.0.01/ https://127.0.0.0x1/ https://127.000.000.001/ https://1.2.3.4.5/ https://256.1.1.1/
    https://3232235777/ https://192.168.257/ https://example.0x7f/ https://example.1/ https://99999999999/
    https://%31%32%37.0.0.1/ https://127.0.0.%31/ https://%6cocalhost/ https://exa%6dple.com/
    https://127%2e0%2e0%2e1/ https://example.com%00.evil.com/ https://example.com%2f@evil.com/
    https://[::1%25lo]/ https://[fe80::1%25eth0]/ https://[fe80::1%eth0]/ https://[::1/ https://::1/
    https://[127.0.0.1]/ https://[::1]evil.com/ https://[::ffff:127.0.0.1.]/ https://[g::1]/ https://[]/
    https://example..com/ https://.example.com/ https://-example.com/ https://example-.com/
    https://exa*mple.com/ https://example.com,evil.com/ https://example.com;evil.com/ https://a!b.com/
    https://example.com:0/ https://example.com:/ https://example.com:99999/ https://example.com:-1/
    https://example.com:http/ https://example.com:80:80/ https://example.com:8_0/
    https://example.com\\@127.0.0.1/ https://127.0.0.1\\.example.com/ https:\\\\127.0.0.1\\
    https://example.com/<script> https://example.com/`id` https://example.com/{x} https://example.com/a|b
"""),
    "",
    " https://example.com/",
    "https://example.com/ ",
    "https://exam ple.com/",
    "https://example.com/\r\nHost: evil",
    "https://example.com\r\n/",
    "https://example.com/\x00",
    "https://example.com/\tx",
    "https://127。0。0。1/",
    "https://127．0．0．1/",
    "https://①②⑦.⓪.⓪.①/",
    "https://ⓛocalhost/",
    "https://exämple.com/",
    "https://example\u00ad.com/",
    "https://example.com/é",
    "https://" + "a" * 64 + ".com/",
    "https://" + "a." * 127 + "com/",
    "https://example.com/" + "a" * 5000,
]

#: URLs that are fine, and the host and port that they name.
ACCEPTED_URLS = [
    ("https://example.com", "example.com", 443),
    ("https://example.com/", "example.com", 443),
    ("HTTPS://EXAMPLE.com:8443/a?b=c#d", "example.com", 8443),
    ("http://example.com/", "example.com", 80),
    ("https://xn--exmple-cua.com/", "xn--exmple-cua.com", 443),
    ("https://a_b.example.com/", "a_b.example.com", 443),
    ("https://1.1.1.1/", "1.1.1.1", 443),
    ("https://[2606:4700:4700:0::1111]:444/", "2606:4700:4700::1111", 444),
    ("https://1e100.net/", "1e100.net", 443),
    ("https://0x7f.example/", "0x7f.example", 443),
    ("https://example.com/%41?x=%20&y=[1]", "example.com", 443),
    ("https://localhost/", "localhost", 443),
]
