"""Panels, variables and links of our dashboards, built with grafana-foundation-sdk."""

from collections.abc import Sequence
from typing import Final, TypeVar

from grafana_foundation_sdk.builders import common, dashboard, heatmap, prometheus, stat, table, timeseries
from grafana_foundation_sdk.builders import statetimeline as state_timeline
from grafana_foundation_sdk.models import common as common_model
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.heatmap import HeatmapColorMode
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

TAG: Final = "anomaly-exporter"
"""Tag by which our dashboards link to each other."""
ANOMALIES: Final = "anomalies"
"""Name of the file of a dashboard, and of the dashboard in URLs: `https://grafana.example.com/d/anomalies`."""
SOURCE: Final = model.DataSourceRef(type_val="prometheus", uid="${datasource}")
AUTO: Final = "__auto"
"""Legend: the labels that differ between the series."""
FULL: Final = 24
"""Columns of a dashboard."""

Panel = timeseries.Panel | stat.Panel | table.Panel | heatmap.Panel | state_timeline.Panel
P = TypeVar("P", timeseries.Panel, stat.Panel, table.Panel, heatmap.Panel, state_timeline.Panel)
Query = tuple[str, str]
"""An expression and the legend of its series."""


def graph(
    title: str, text: str, *queries: Query, unit: str = "short", width: int = 8, stacked: bool = False
) -> timeseries.Panel:
    """Return a graph over time; `text` describes what to look for."""
    panel = _asking(timeseries.Panel(), title, text, queries, width).unit(unit).fill_opacity(20.0 if stacked else 0.0)
    panel.line_width(1.0).show_points(common_model.VisibilityMode.NEVER)
    panel.tooltip(common.VizTooltipOptions().mode(common_model.TooltipDisplayMode.MULTI))
    legend = common.VizLegendOptions().show_legend(True).display_mode(common_model.LegendDisplayMode.LIST)
    panel.legend(legend.placement(common_model.LegendPlacement.BOTTOM))
    if stacked:
        panel.stacking(common.StackingConfig().mode(common_model.StackingMode.NORMAL))
    return panel


def number(title: str, text: str, *queries: Query, unit: str = "short", width: int = 4, bad: float = 0) -> stat.Panel:
    """Return the newest values; red from `bad` on, with a negative `bad` below its absolute value, with 0 never."""
    panel = _asking(stat.Panel(), title, text, queries, width, height=4, instant=True).unit(unit)
    panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"])).color_mode(
        common_model.BigValueColorMode.VALUE if bad else common_model.BigValueColorMode.NONE
    )
    first, then = ("red", "green") if bad < 0 else ("green", "red")
    return panel.thresholds(_steps((None, first), (abs(bad), then)))


def rows(title: str, text: str, *queries: Query, width: int = FULL, sort: str = "") -> table.Panel:
    """Return a table with a row per series and a column per query, named by its legend."""
    panel = _asking(table.Panel(), title, text, queries, width, instant=True, form=PromQueryFormat.TABLE)
    names = {f"Value #{chr(ord('A') + at)}": legend for at, (_, legend) in enumerate(queries)}
    if len(queries) == 1:
        names["Value"] = queries[0][1]  # the values of a single query have no letter
    panel.with_transformation(model.DataTransformerConfig(id_val="merge", options={}))
    hidden = {"Time": True, "__name__": True}
    panel.with_transformation(
        model.DataTransformerConfig(id_val="organize", options={"excludeByName": hidden, "renameByName": names})
    )
    job = {"title": "Its anomalies", "url": f"/d/{ANOMALIES}?var-query=${{__value.text}}&${{__url_time_range}}"}
    panel.override_by_name("query", [model.DynamicConfigValue("links", [job])])
    if sort:
        panel.sort_by([common.TableSortByFieldState().display_name(sort).desc(True)])
    return panel.filterable(True).decimals(2)


def heat(title: str, text: str, query: Query, *, buckets: bool, width: int = 12) -> heatmap.Panel:
    """Return a heat map: of counts by `le` with `buckets`, else a row for each series coloured by a score."""
    form = PromQueryFormat.HEATMAP if buckets else PromQueryFormat.TIME_SERIES
    panel = _asking(heatmap.Panel(), title, text, [query], width, height=10, form=form).calculate(False)
    colour = heatmap.HeatmapColorOptions().mode(HeatmapColorMode.SCHEME).steps(64)
    colour = colour.scheme("Blues") if buckets else colour.scheme("RdYlGn").min(0.0).max(2.0)
    return panel.color(colour.reverse(not buckets)).cell_gap(1).show_y_histogram()


def timeline(title: str, text: str, *queries: Query, width: int = 12) -> state_timeline.Panel:
    """Return a timeline of when a query was 1."""
    panel = _asking(state_timeline.Panel(), title, text, queries, width)
    states = {"0": ("no", "transparent"), "1": ("yes", "red")}
    shown = {state: model.ValueMappingResult(text=word, color=colour) for state, (word, colour) in states.items()}
    panel.mappings([model.ValueMap(options=shown)]).show_value(common_model.VisibilityMode.NEVER)
    return panel.row_height(0.8).legend(common.VizLegendOptions().show_legend(False))


def banded(panel: timeseries.Panel, lower: str, upper: str) -> timeseries.Panel:
    """Fill the area between two series; where there is only one, as with one `direction`, its line shows it."""
    line = model.DynamicConfigValue(id_val="custom.lineWidth", value=1)
    fill = [("custom.fillBelowTo", lower), ("custom.fillOpacity", 25)]
    panel.override_by_name(lower, [line])
    return panel.override_by_name(upper, [line, *(model.DynamicConfigValue(name, value) for name, value in fill)])


def above(panel: timeseries.Panel, limit: float) -> timeseries.Panel:
    """Draw a line at `limit`."""
    style = common.GraphThresholdsStyleConfig().mode(common_model.GraphThresholdsStyleMode.DASHED)
    return panel.thresholds(_steps((None, "green"), (limit, "red"))).thresholds_style(style)


def source() -> dashboard.DatasourceVariable:
    """Return the variable that selects the Prometheus data source."""
    return dashboard.DatasourceVariable("datasource").label("Data source").type("prometheus")


def choice(name: str, label: str, query: str, *, several: bool = True, regex: str = "") -> dashboard.QueryVariable:
    """Return a variable with the results of a query; with `several`, all are selected at first."""
    made = dashboard.QueryVariable(name).label(label).datasource(SOURCE).query(query).regex(regex)
    made.refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
    if several:
        every = model.VariableOption(selected=True, text="All", value="$__all")
        made.multi(True).include_all(True).all_value(".*").current(every).sort(model.VariableSort.ALPHABETICAL_ASC)
    return made


def link(title: str, url: str = "") -> dashboard.DashboardLink:
    """Return a link to a URL, or to our other dashboards with the same time range and variables."""
    made = dashboard.DashboardLink(title).keep_time(not url).include_vars(not url)
    if url:
        return made.type(model.DashboardLinkType.LINK).url(url).icon("doc").target_blank(True)
    return made.type(model.DashboardLinkType.DASHBOARDS).tags([TAG]).as_dropdown(False)


def _asking(
    panel: P,
    title: str,
    text: str,
    queries: Sequence[Query],
    width: int,
    height: int = 8,
    *,
    instant: bool = False,
    form: PromQueryFormat = PromQueryFormat.TIME_SERIES,
) -> P:
    """Set title, size and queries of a panel."""
    for at, (expr, legend) in enumerate(queries):
        query = prometheus.Dataquery().expr(expr).legend_format(legend).format(form).ref_id(chr(ord("A") + at))
        panel.with_target(query.instant() if instant else query.range())
    return panel.title(title).description(text).datasource(SOURCE).height(height).span(width)


def _steps(*steps: tuple[float | None, str]) -> dashboard.ThresholdsConfig:
    made = [model.Threshold(value=value, color=colour) for value, colour in steps]
    return dashboard.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(made)
