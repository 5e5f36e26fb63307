# JetPack 7.2 (Orin, Thor): TensorRT 10.16, Python 3.12. Untested on hardware. NVIDIA publishes no image with just that;
# TensorRT comes from the Jetson Linux 39.2 package archive, the one that the board itself is updated from.
#   python -m build --wheel -o wheels      (in the repository, on any machine)
#   docker build -f jetpack-7.2.Dockerfile -t edge-yolov9:jp7.2 .      (on the board, in the folder that holds wheels/)
#   docker run --rm --runtime nvidia -v $PWD/bundle:/bundle -v engines:/engines edge-yolov9:jp7.2 jetson build /bundle
FROM ubuntu:24.04
ADD --chmod=644 https://repo.download.nvidia.com/jetson/jetson-ota-public.asc /usr/share/keyrings/nvidia-jetson.asc
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates python3-pip libgl1 libglib2.0-0 \
    && for part in common som; do \
        echo "deb [signed-by=/usr/share/keyrings/nvidia-jetson.asc] https://repo.download.nvidia.com/jetson/$part r39.2 main"; \
    done > /etc/apt/sources.list.d/nvidia-jetson.list \
    && apt-get update && apt-get install -y --no-install-recommends python3-libnvinfer tensorrt-libs cuda-cudart-13-2 \
    && rm -rf /var/lib/apt/lists/*
RUN python3 -m pip install --no-cache-dir --break-system-packages numpy==1.26.4 opencv-python-headless==4.10.0.84 click==8.1.8
COPY wheels/edge_yolov9-*.whl /tmp/
RUN python3 -m pip install --no-cache-dir --break-system-packages --no-deps /tmp/edge_yolov9-*.whl
ENV EDGE_YOLOV9_CACHE=/engines LD_LIBRARY_PATH=/usr/local/cuda-13.2/lib64
VOLUME /engines
ENTRYPOINT ["edge-yolov9"]
