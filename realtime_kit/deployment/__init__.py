"""What deploys: the zips that Lambda runs, what a month costs. Needs the standard library alone."""
