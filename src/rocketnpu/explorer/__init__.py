"""Programs and plans in Model Explorer, the viewer that shows models as graphs: an adapter, and an overlay."""
