# Run on the device, in the folder that compare.py prepared. Each step is what a user types there.
set -eu
uname -m
if [ ! -e /opt/edge/bin/edge-yolov9 ]; then
    python3 -m venv /opt/edge
    /opt/edge/bin/pip install -q opencv-python-headless ai-edge-litert onnxruntime pycocotools PyYAML matplotlib click
fi
/opt/edge/bin/pip install -q --no-deps --force-reinstall wheels/*.whl
PATH=/opt/edge/bin:$PATH
edge-yolov9 targets
for bundle in onnx-fp32 onnx-int8 tflite-fp32 tflite-int8; do
    edge-yolov9 detect $bundle images --json arm-$bundle.json
done
edge-yolov9 val tflite-int8 --data data.yaml --json arm-val.json
edge-yolov9 report score here/detections.json --data data.yaml -o page   # timing would take hours here, and mean nothing
edge-yolov9 detect tflite-int8 film.avi --json arm-film.json
