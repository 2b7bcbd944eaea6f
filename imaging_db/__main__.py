"""``python -m imaging_db`` is ``imaging-db``."""

from imaging_db.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
