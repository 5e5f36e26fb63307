# Detector on an x86 server, OpenVINO on its CPU. In the checkout, with a bundle in ./bundle:
#
#   pip wheel --no-deps -w dist . && docker build -f examples/docker/x86.Dockerfile -t edge-yolov9 .
#   docker run --rm -v "$PWD/pictures:/pictures:ro" edge-yolov9 detect /bundle /pictures --json -
#
# Size: 436 MB over the base, without the bundle. The steps were tried on 2026-11-27 in a minimal Debian 12 of 183 MB with Python 3.11,
# as root and as nobody, where no engine for containers runs; the base image itself was not pulled.
FROM python:3.13-slim
COPY dist/edge_yolov9-0.1.0-py3-none-any.whl /tmp/
# The base has no desktop libraries: OpenCV's headless form is the same cv2 without windows.
RUN pip install --no-cache-dir "/tmp/edge_yolov9-0.1.0-py3-none-any.whl[openvino]" \
    && pip uninstall -y opencv-python && pip install --no-cache-dir opencv-python-headless && rm /tmp/*.whl
COPY bundle /bundle
USER nobody
ENTRYPOINT ["edge-yolov9"]
CMD ["detect", "--help"]
