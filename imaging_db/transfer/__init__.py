"""The use cases: plan, upload, download, verify. They print nothing."""

from imaging_db.transfer.batch import check_parents, plan_rows, upload_rows
from imaging_db.transfer.download import Downloader
from imaging_db.transfer.plan import Planner, UploadPlan
from imaging_db.transfer.report import (
    DownloadReport,
    Outcome,
    Paced,
    Progress,
    Silent,
    UploadReport,
    VerifyReport,
)
from imaging_db.transfer.upload import Uploader
from imaging_db.transfer.verify import Verifier

__all__ = [
    "DownloadReport",
    "Downloader",
    "Outcome",
    "Paced",
    "Planner",
    "Progress",
    "Silent",
    "UploadPlan",
    "UploadReport",
    "Uploader",
    "Verifier",
    "VerifyReport",
    "check_parents",
    "plan_rows",
    "upload_rows",
]
