"""The report's style sheet. Colors of lines follow Okabe and Ito, told apart in any color vision."""

from __future__ import annotations

__all__ = ["STYLE"]

STYLE = """
:root { color-scheme: light dark; --ink:#1b1f24; --soft:#5a6472; --rule:#d5dae1; --page:#ffffff; --panel:#f5f7f9;
  --fed:#0072b2; --pool:#1b1f24; --site-1:#d55e00; --site-2:#007a59; --site-3:#b0478a; --site-4:#a87900;
  --bad:#b42318; --good:#1a7f37; }
@media (prefers-color-scheme: dark) { :root { --ink:#e6e9ee; --soft:#a0a9b6; --rule:#39414c; --page:#14181d;
  --panel:#1d232a; --fed:#56b4e9; --pool:#e6e9ee; --site-1:#f08a3c; --site-2:#2fbf94; --site-3:#d98fbb;
  --site-4:#e5c443;  --bad:#ff8a80; --good:#5fce82; } }
* { box-sizing: border-box; }
body { margin:0; background:var(--page); color:var(--ink);
  font:16px/1.55 system-ui,-apple-system,"Segoe UI",sans-serif; }
main { max-width: 1080px; margin: 0 auto; padding: 2rem 1.25rem 4rem; }
h1 { font-size:1.7rem; margin:0 0 .25rem; } h2 { font-size:1.2rem; margin:2.5rem 0 .75rem; }
p { max-width: 70ch; overflow-wrap:anywhere; } a { color:var(--fed); } .soft { color:var(--soft); }
.tiles { display:grid; grid-template-columns:repeat(auto-fit,minmax(150px,1fr)); gap:.75rem; margin:1.5rem 0; }
.tile { background:var(--panel); border:1px solid var(--rule); border-radius:8px; padding:.75rem 1rem; }
.tile b { display:block; font-size:1.45rem; font-variant-numeric:tabular-nums; } .tile span { color:var(--soft); }
.good b { color:var(--good); } .bad b { color:var(--bad); }
.charts { display:grid; grid-template-columns:repeat(auto-fit,minmax(min(460px,100%),1fr)); gap:1rem; }
figure { margin:0; background:var(--panel); border:1px solid var(--rule); border-radius:8px; padding:.75rem; }
figcaption { font-weight:600; margin-bottom:.25rem; }
svg { width:100%; height:auto; display:block; font:12px system-ui,sans-serif; }
svg.narrow { display:none; }
.grid { stroke:var(--rule); } .tick { fill:var(--soft); } .bar { fill:var(--fed); }
.mark { stroke:var(--bad); stroke-dasharray:4 4; } .marked { fill:var(--bad); }
.line, .lead { fill:none; stroke-width:2; } .lead { stroke-width:1.5; }
.fed { stroke:var(--fed); } .line.fed { stroke-width:3.5; }
.pool { stroke:var(--pool); } .line.pool { stroke-dasharray:8 4; }
.site-1 { stroke:var(--site-1); } .site-2 { stroke:var(--site-2); } .site-3 { stroke:var(--site-3); }
.site-4 { stroke:var(--site-4); }
.line.site-2 { stroke-dasharray:5 3; } .line.site-3 { stroke-dasharray:2 3; } .line.site-4 { stroke-dasharray:9 3 2 3; }
.label { stroke:none; fill:var(--ink); } .label.fed { font-weight:600; }
.scroll { overflow-x:auto; }
table { border-collapse:collapse; width:100%; font-variant-numeric:tabular-nums; font-size:.92rem; }
caption { text-align:left; color:var(--soft); padding:.25rem 0; }
th,td { text-align:left; padding:.35rem .6rem; border-bottom:1px solid var(--rule); vertical-align:top; }
td:last-child { overflow-wrap:anywhere; } td.n,th.n { text-align:right; }
code { font:.86em ui-monospace,"SFMono-Regular",Menlo,monospace; overflow-wrap:anywhere; }
code.hash { display:inline-block; max-width:18ch; overflow:hidden; text-overflow:ellipsis; white-space:nowrap;
  vertical-align:text-bottom; user-select:all; }
code.hash:hover, code.hash:focus { max-width:none; overflow:visible; white-space:normal; overflow-wrap:anywhere; }
pre { background:var(--panel); border:1px solid var(--rule); border-radius:8px; padding:.75rem; white-space:pre-wrap; }
@media (max-width: 640px) {
  main { padding:1.25rem .9rem 3rem; }
  svg.wide { display:none; } svg.narrow { display:block; }
  thead { position:absolute; width:1px; height:1px; overflow:hidden; clip-path:inset(50%); }
  table, caption, tbody, tr, td { display:block; }
  tr { border-bottom:1px solid var(--rule); padding:.4rem 0; }
  td, td.n { border:0; padding:.1rem 0; text-align:left; display:grid;
    grid-template-columns:8.5rem minmax(0,1fr); gap:.6rem; }
  td::before { content:attr(data-head); color:var(--soft); } td br { display:none; }
  td > * { grid-column:2; justify-self:start; } td:empty { display:none; }
  code.hash { max-width:100%; }
}
@media print { body { font-size:11pt; } figure,.tile,tr { break-inside:avoid; }
  code.hash { max-width:none; white-space:normal; overflow-wrap:anywhere; } }
"""
