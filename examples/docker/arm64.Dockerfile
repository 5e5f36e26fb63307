# Detector on a 64-bit Arm board (Raspberry Pi 4, 5), LiteRT on its CPU. In the checkout, with a bundle in ./bundle:
#
#   pip wheel --no-deps -w dist . && docker build --platform linux/arm64 -f examples/docker/arm64.Dockerfile -t edge-yolov9 .
#   docker run --rm -v "$PWD/pictures:/pictures:ro" edge-yolov9 detect /bundle /pictures --json -
#
# Size: 207 MB of packages over the base, without the bundle (the arm64 wheels unpacked). The steps were tried on 2026-11-27 in a minimal
# Debian 12 on x86 (321 MB with pip's own environment); the wheel on arm64 itself by emulation: make test-arm. The base image was not pulled.
FROM python:3.13-slim
COPY dist/edge_yolov9-0.1.0-py3-none-any.whl /tmp/
# The base has no desktop libraries: OpenCV's headless form is the same cv2 without windows.
RUN pip install --no-cache-dir "/tmp/edge_yolov9-0.1.0-py3-none-any.whl[tflite]" \
    && pip uninstall -y opencv-python && pip install --no-cache-dir opencv-python-headless && rm /tmp/*.whl
COPY bundle /bundle
USER nobody
ENTRYPOINT ["edge-yolov9"]
CMD ["detect", "--help"]
