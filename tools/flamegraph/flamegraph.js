// What page.js uses of d3-flame-graph, in one file.
import flamegraph from "d3-flame-graph";
import { select } from "d3-selection";

window.flame = { flamegraph, select };
