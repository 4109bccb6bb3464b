# `imagetrail serve` alone: no torch, no DVC, no MLflow; the processor is enough.
#
#   docker build -t imagetrail-serve .
#   docker run --rm --read-only --cap-drop ALL -p 127.0.0.1:8080:8080 \
#     -v "$PWD/artifacts/export:/model:ro" imagetrail-serve --model /model/model.int8.onnx
#
# PYTHON may name an image by its digest (python@sha256:…), so that a tag that moves changes nothing.
ARG PYTHON=python:3.12-slim-bookworm

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
