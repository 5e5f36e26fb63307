# JetPack 7.0 (Thor; 7.1 too): TensorRT 10.13, Python 3.12. Untested on hardware.
#   python -m build --wheel -o wheels      (in the repository, on any machine)
#   docker build -f jetpack-7.0.Dockerfile -t edge-yolov9:jp7.0 .      (in the folder that holds wheels/)
#   docker run --rm --runtime nvidia -v $PWD/bundle:/bundle -v engines:/engines edge-yolov9:jp7.0 jetson build /bundle
FROM nvcr.io/nvidia/tensorrt:25.08-py3
RUN apt-get update && apt-get install -y --no-install-recommends python3-pip libgl1 libglib2.0-0 && rm -rf /var/lib/apt/lists/*
RUN python3 -m pip install --no-cache-dir --break-system-packages numpy==1.26.4 opencv-python-headless==4.10.0.84 click==8.1.8
COPY wheels/edge_yolov9-*.whl /tmp/
RUN python3 -m pip install --no-cache-dir --break-system-packages --no-deps /tmp/edge_yolov9-*.whl
ENV EDGE_YOLOV9_CACHE=/engines
VOLUME /engines
ENTRYPOINT ["edge-yolov9"]
