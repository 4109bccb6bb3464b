# Two images. `imagetrail serve` alone: no torch, no DVC, no MLflow; the processor is enough.
#
#   docker build -t imagetrail-serve .
#   docker run --rm --read-only --cap-drop ALL -p 127.0.0.1:8080:8080 \
#     -v "$PWD/artifacts/export:/model:ro" imagetrail-serve --model /model/model.int8.onnx
#
# All of it, to train in a project that is mounted:
#
#   docker build --target train -t imagetrail-train .
#   docker run --rm --gpus all --user "$(id -u)" -v "$PWD:/project" imagetrail-train repro
#
# torch is the CUDA build, or with --build-arg PIP_EXTRA_INDEX_URL=… that of an index of CPU builds,
# if requirements.lock has its digest (make lock BUILD=…).
#
# A tag can move. To build on the same bytes again, name both images by digest, python@sha256:…, as
# `docker buildx imagetools inspect python:3.12-slim-bookworm` says it.
ARG PYTHON=python:3.12-slim-bookworm
ARG TRAIN=python:3.12-bookworm

FROM ${TRAIN} AS train
WORKDIR /opt/imagetrail
COPY . .
ARG PIP_EXTRA_INDEX_URL
RUN make setup
# A project that has the code in it runs its own.
ENV PATH=/opt/imagetrail/.venv/bin:$PATH PYTHONPATH=/project/src PYTHONDONTWRITEBYTECODE=1 HOME=/tmp
USER 10001:10001
WORKDIR /project
ENTRYPOINT ["/opt/imagetrail/.venv/bin/imagetrail"]
CMD ["repro"]

FROM ${PYTHON} AS build
WORKDIR /build
COPY requirements.lock ./
# Of the lock, with its hashes, what serving needs and what that needs.
RUN printf '%s\n' \
      annotated-doc annotated-types anyio click flatbuffers h11 httptools idna markdown-it-py mdurl \
      ml-dtypes numpy onnx onnxruntime packaging pillow prometheus-client protobuf psutil pyarrow \
      pydantic pydantic-core pygments python-multipart pyyaml rich setuptools shellingham starlette \
      typer typing-extensions typing-inspection uvicorn uvloop > names.txt && \
    awk 'NR == FNR {named[$1]; next} /^[^ #]/ {split($0, words, "=="); kept = words[1] in named} kept' \
      names.txt requirements.lock > hashed.txt && \
    python -m venv /opt/imagetrail && \
    /opt/imagetrail/bin/pip install --no-cache-dir --no-deps --require-hashes -r hashed.txt
COPY pyproject.toml README.md LICENSE ./
COPY src src
RUN /opt/imagetrail/bin/pip install --no-cache-dir --no-deps --no-build-isolation .

FROM ${PYTHON}
COPY --from=build /opt/imagetrail /opt/imagetrail
# A number, so that Kubernetes can tell that it is not root.
USER 10001:10001
WORKDIR /model
EXPOSE 8080
HEALTHCHECK --interval=30s --timeout=5s --start-period=20s \
    CMD ["/opt/imagetrail/bin/python", "-c", "import urllib.request; urllib.request.urlopen('http://127.0.0.1:8080/health', timeout=4)"]
ENTRYPOINT ["/opt/imagetrail/bin/imagetrail", "serve", "--host", "0.0.0.0", "--allow", "*"]
CMD ["--model", "/model/model.onnx"]
