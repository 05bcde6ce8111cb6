"""The nightly run as a file for a scheduler: cron, systemd, Kubernetes, GitHub Actions or Airflow.

`job` says what is to run and when, `forms` writes it as one scheduler wants it, from the templates beside it, and
`quoting` makes each word of the command arrive as it is.
"""

from __future__ import annotations

from backfill.schedule.forms import FORMS, Form, render
from backfill.schedule.job import Job, Options, elsewhere, plan_job
from backfill.schedule.output import save

__all__ = ["FORMS", "Form", "Job", "Options", "elsewhere", "plan_job", "render", "save"]
