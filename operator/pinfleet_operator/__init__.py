"""pinfleet's control plane: pins every agent run to the version it started on, and keeps that version as long."""
