#pragma once

namespace micrec {

// The style of a report. Colours of runs are those of Okabe and Ito (2008), which people with any
// kind of colour vision tell apart, lighter on a dark page; lines differ in their dashes too.
inline constexpr char kPageStyle[] = R"css(
:root{color-scheme:light dark;--page:#fff;--text:#1b1f24;--soft:#5a6270;--line:#d9dde3;--mild:#f4f6f8;--warn:#fff4d6;
--run0:#0072b2;--run1:#d55e00;--run2:#009e73;--run3:#b85c93;--run4:#b07a00;--run5:#2e8fc4;--run6:#444c56;--against:#8b929c}
@media (prefers-color-scheme:dark){:root{--page:#14171b;--text:#e4e8ee;--soft:#9aa4b2;--line:#343b45;--mild:#1d2228;--warn:#3b3111;
--run0:#56b4e9;--run1:#ff8b3d;--run2:#2ec79c;--run3:#e29ac4;--run4:#e6b13a;--run5:#9cc9ff;--run6:#c3cad4;--against:#8b929c}}
@media print{:root{color-scheme:light;--page:#fff;--text:#000;--soft:#444;--line:#ccc;--mild:#f4f4f4;--warn:#fff;
--run0:#0072b2;--run1:#d55e00;--run2:#009e73;--run3:#b85c93;--run4:#b07a00;--run5:#2e8fc4;--run6:#444c56;--against:#8b929c}
svg,tr,li,.tile{break-inside:avoid}h2,h3,h4{break-after:avoid}nav{display:none}main{max-width:none;padding:0}
details:not([open]){display:none}.charts{grid-template-columns:repeat(2,1fr)!important}}
*{box-sizing:border-box}
body{margin:0;background:var(--page);color:var(--text);font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Liberation Sans",sans-serif}
main{max-width:1280px;margin:0 auto;padding:24px 20px 60px}
h1{font-size:24px;margin:0 0 4px;overflow-wrap:anywhere}
h2{font-size:19px;margin:36px 0 10px;padding-top:14px;border-top:1px solid var(--line)}
h3{font-size:16px;margin:20px 0 8px;overflow-wrap:anywhere}
h4{font-size:14px;margin:8px 0 4px;overflow-wrap:anywhere}
p{margin:4px 0 10px;max-width:80ch}
.note,.status{color:var(--soft)}
.warning{background:var(--warn);padding:6px 10px;border-radius:6px}
nav{margin:12px 0}nav a{margin-right:14px;color:var(--soft);text-decoration:none;white-space:nowrap}nav a:hover{text-decoration:underline}
code{font:13px ui-monospace,"DejaVu Sans Mono",monospace;overflow-wrap:anywhere}
.tiles{display:flex;flex-wrap:wrap;gap:12px;margin:16px 0}
.tile{background:var(--mild);border-radius:8px;padding:10px 16px;min-width:130px}
.tile b{display:block;font-size:22px;font-weight:600;font-variant-numeric:tabular-nums}.tile span{color:var(--soft);font-size:13px}
.legend{display:flex;flex-wrap:wrap;gap:4px 18px;margin:4px 0 10px;padding:0;list-style:none}
.legend li{display:flex;align-items:center;gap:7px;overflow-wrap:anywhere}.legend svg{width:30px;height:12px;flex:none}
.charts{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,380px),1fr));gap:18px 20px;grid-auto-flow:dense;align-items:end;margin-bottom:12px}
@media (min-width:840px){.charts svg.wide{grid-column:span 2}}
.charts svg{width:100%;height:auto;display:block}
svg text{font:11px system-ui,-apple-system,"Segoe UI",Roboto,"Liberation Sans",sans-serif;fill:var(--soft);font-variant-numeric:tabular-nums}
svg text.title{font-size:13.5px;font-weight:600;fill:var(--text)}svg text.value{font-size:9.5px;fill:var(--text)}svg text.count{font-size:9.5px}
svg .grid{stroke:var(--line);stroke-width:.7}svg .axis{stroke:var(--soft);stroke-width:.8}
svg g path{fill:none;stroke:var(--c);stroke-width:1.8;stroke-linejoin:round}svg g circle,svg g rect{fill:var(--c)}
svg g path.interval{stroke:var(--text);stroke-width:1.2}
.run0{--c:var(--run0)}.run1{--c:var(--run1)}.run2{--c:var(--run2)}.run3{--c:var(--run3)}.run4{--c:var(--run4)}.run5{--c:var(--run5)}
.run6{--c:var(--run6)}.against{--c:var(--against)}
.run1>path{stroke-dasharray:7 3}.run2>path{stroke-dasharray:2 3}.run3>path{stroke-dasharray:9 3 2 3}.run4>path{stroke-dasharray:4 2}
.run5>path{stroke-dasharray:12 4}.run6>path{stroke-dasharray:1 2}.against>path{stroke-dasharray:5 4}
svg path.interval{stroke-dasharray:none!important}
svg.inline{width:124px;height:14px;display:block}svg.inline rect{fill:var(--run0)}svg.inline path{stroke:var(--text);stroke-width:1.5;fill:none}
.scroll{overflow-x:auto;margin:4px 0 14px}
table{border-collapse:collapse;font-size:13.5px;font-variant-numeric:tabular-nums}
th,td{padding:3px 12px 3px 0;text-align:right;border-bottom:1px solid var(--line);vertical-align:middle}
th{color:var(--soft);font-weight:600}th.left,td.left{text-align:left}td.left{overflow-wrap:anywhere}
tr.chosen td{font-weight:700;background:var(--mild)}
.tables{display:flex;flex-wrap:wrap;gap:8px 40px}
summary{cursor:pointer;color:var(--soft);margin:4px 0}
ul{margin:4px 0 10px;padding-left:20px}
)css";

}  // namespace micrec
