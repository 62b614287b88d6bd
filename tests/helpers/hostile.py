"""Names of classes and images that could be taken for markup, paths or code."""

NAMES = [
    "<script>alert(1)</script>",
    "</script><img src=x onerror=alert(1)>",
    "\"quotes\" and 'quotes'",
    "a/b/../../../etc/passwd",
    "..",
    "🐈‍⬛ кошка ネコ",
    "x" * 200,
    "&lt;b&gt; {{ 7*7 }} {% raw %} <!--",
    "line\u2028separator\nnewline\x00",
]
