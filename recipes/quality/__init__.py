"""How well the quality gate's checks tell a changed product from an unchanged one."""
