"""Names that people do not mean to be markup, paths or code, and that others might."""

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
