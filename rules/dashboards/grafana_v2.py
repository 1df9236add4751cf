"""Our dashboards in Grafana's schema v2: the same panels as in v1, in the form of an object of Grafana's API.

A panel's options are the same in both; v2 moves queries, layout and choices to other places, and has words for numbers.
"""

import json
from collections.abc import Sequence
from typing import Any, Final

API_VERSION: Final = "dashboard.grafana.app/v2"
_CURSOR: Final = ("Off", "Crosshair", "Tooltip")
_REFRESH: Final = ("never", "onDashboardLoad", "onTimeRangeChanged")
_SORT: Final = ("disabled", "alphabeticalAsc", "alphabeticalDesc")
_PANEL_KEYS: Final = ("title", "description", "transparent")
_LINK_KEYS: Final = (
    *("title", "type", "icon", "tooltip", "url", "tags", "asDropdown", "targetBlank", "includeVars", "keepTime"),
)
_ANNOTATION_KEYS: Final = ("enable", "hide", "iconColor", "name", "filter")

Json = dict[str, Any]
_PLAIN: Final[Json] = {"defaults": {}, "overrides": []}


def text(v1: str) -> str:
    """Return the JSON of an object with the dashboard whose JSON in schema v1 is given."""
    board = json.loads(v1)
    made = {
        "apiVersion": API_VERSION,
        "kind": "Dashboard",
        "metadata": {"name": board["uid"]},
        "spec": _dashboard(board),
    }
    return json.dumps(made, indent=1, ensure_ascii=False) + "\n"


def _dashboard(board: Json) -> Json:
    panels = [panel for panel in board["panels"] if panel["type"] != "row"]
    return {
        "title": board["title"],
        "description": board["description"],
        "tags": board["tags"],
        "editable": board["editable"],
        "cursorSync": _CURSOR[board["graphTooltip"]],
        "preload": False,
        "links": [{key: link[key] for key in _LINK_KEYS if key in link} for link in board["links"]],
        "timeSettings": {
            "timezone": board["timezone"],
            **board["time"],
            "autoRefresh": board["refresh"],
            "autoRefreshIntervals": ["5s", "10s", "30s", "1m", "5m", "15m", "30m", "1h", "2h", "1d"],
            "hideTimepicker": False,
            "fiscalYearStartMonth": board["fiscalYearStartMonth"],
        },
        "variables": [_variable(each) for each in board["templating"]["list"]],
        "annotations": [_annotation(each) for each in board["annotations"].get("list", [])],
        "elements": {_name(panel): _panel(panel) for panel in panels},
        "layout": {"kind": "RowsLayout", "spec": {"rows": _rows(board["panels"])}},
    }


def _name(panel: Json) -> str:
    return f"panel-{panel['id']}"


def _rows(panels: Sequence[Json]) -> list[Json]:
    """Return the headings, each with the panels under it; heights count from the heading."""
    rows: list[Json] = []
    top = 0
    for panel in panels:
        at = panel["gridPos"]
        if panel["type"] == "row":
            top = at["y"] + at["h"]
            row = {"title": panel["title"], "collapse": False, "layout": {"kind": "GridLayout", "spec": {"items": []}}}
            rows.append({"kind": "RowsLayoutRow", "spec": row})
            continue
        element = {"kind": "ElementReference", "name": _name(panel)}
        place = {"x": at["x"], "y": at["y"] - top, "width": at["w"], "height": at["h"], "element": element}
        rows[-1]["spec"]["layout"]["spec"]["items"].append({"kind": "GridLayoutItem", "spec": place})
    return rows


def _panel(panel: Json) -> Json:
    queries = [
        {"kind": "PanelQuery", "spec": {"refId": each["refId"], "hidden": False, "query": _query(panel, _asked(each))}}
        for each in panel["targets"]
    ]
    transformations = [
        {"kind": "Transformation", "group": each["id"], "spec": {"options": each["options"]}}
        for each in panel.get("transformations", [])
    ]
    data = {"queries": queries, "transformations": transformations, "queryOptions": {}}
    look = {"options": panel.get("options", {}), "fieldConfig": panel.get("fieldConfig", _PLAIN)}
    spec: Json = {
        "id": panel["id"],
        **{key: panel[key] for key in _PANEL_KEYS if key in panel},
        "links": [],
        "data": {"kind": "QueryGroup", "spec": data},
        "vizConfig": {"kind": "VizConfig", "group": panel["type"], "version": "", "spec": look},
    }
    return {"kind": "Panel", "spec": spec}


def _asked(target: Json) -> Json:
    return {key: value for key, value in target.items() if key not in {"refId", "datasource"}}


def _query(of: Json, spec: Json) -> Json:
    """Return a question to the data source that a panel, a variable or an annotation of v1 names."""
    source = of["datasource"]
    return {
        "kind": "DataQuery",
        "group": source["type"],
        "version": "v0",
        "datasource": {"name": source["uid"]},
        "spec": spec,
    }


def _variable(variable: Json) -> Json:
    nothing: Json = {"text": "", "value": ""}
    current = {key: value for key, value in variable.get("current", nothing).items() if key in nothing}
    spec = {
        "name": variable["name"],
        "label": variable["label"],
        "current": current,
        "hide": "dontHide",
        "skipUrlSync": variable["skipUrlSync"],
        "multi": variable["multi"],
        "includeAll": variable["includeAll"],
        "allowCustomValue": variable["allowCustomValue"],
        "options": [],
        "regex": variable.get("regex", ""),
        "refresh": _REFRESH[variable.get("refresh", 1)],
    }
    if variable["type"] == "datasource":
        return {"kind": "DatasourceVariable", "spec": {**spec, "pluginId": variable["query"]}}
    every = {"allValue": variable["allValue"]} if "allValue" in variable else {}
    asked = _query(variable, {"__legacyStringValue": variable["query"]})  # the source's own words for what it asks
    sort = _SORT[variable.get("sort", 0)]
    return {"kind": "QueryVariable", "spec": {**spec, **every, "query": asked, "sort": sort}}


def _annotation(annotation: Json) -> Json:
    kept = {key: annotation[key] for key in _ANNOTATION_KEYS if key in annotation}
    return {"kind": "AnnotationQuery", "spec": {"query": _query(annotation, {"expr": annotation["expr"]}), **kept}}
