"""The kernel drivers of this family, and what must hold before they may see a job."""
