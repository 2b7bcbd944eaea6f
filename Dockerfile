# The commands of imaging_db in an image; no compiler is needed.
#
#   docker build --tag imaging_db .
#   docker run --rm imaging_db                                  (help)
#   docker run --rm --volume lab:/data --volume /mnt/scope:/source:ro \
#       imaging_db data_uploader --csv /source/files_for_upload.csv
#
# Without a login the catalog and the store lie in /data/imaging_db, so keep /data in a volume.
# EXTRAS adds optional parts: --build-arg EXTRAS=[notebook] for Jupyter, as compose.yaml does.
FROM python:3.12-slim-bookworm

ARG EXTRAS=""
ENV PIP_NO_CACHE_DIR=1 \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PIP_ROOT_USER_ACTION=ignore \
    PYTHONUNBUFFERED=1

WORKDIR /src
COPY pyproject.toml setup.py README.md LICENSE ./
COPY imaging_db imaging_db
COPY migrations migrations
COPY sample sample
RUN pip install ".${EXTRAS}"

RUN useradd --create-home --uid 1000 imaging \
    && install --directory --owner imaging --group imaging /data
COPY --chown=imaging:imaging notebooks /home/imaging/notebooks
USER imaging
WORKDIR /data
ENV IMAGING_DB_HOME=/data/imaging_db
VOLUME /data

# The first word after the image is a command: data_uploader, data_downloader, query_data, imaging-db.
ENTRYPOINT ["/usr/bin/env", "--"]
CMD ["imaging-db", "--help"]
