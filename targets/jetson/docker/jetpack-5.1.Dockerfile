# JetPack 5.1 (Xavier, Orin): TensorRT 8.5.2 for Python 3.8 only. This image builds engines with trtexec; the Detector needs
# Python 3.10 and does not run here. Untested on hardware.
#   docker build -f jetpack-5.1.Dockerfile -t edge-yolov9:jp5.1 .
#   docker run --rm --runtime nvidia -v $PWD/bundle:/bundle edge-yolov9:jp5.1
FROM nvcr.io/nvidia/l4t-jetpack:r35.4.1
ENV PATH=/usr/src/tensorrt/bin:$PATH
WORKDIR /bundle
CMD ["sh", "-c", "eval \"$(grep -v '^#' trtexec.txt | sed -n 1p)\""]
