// DeepStream output parser for edge-yolov9: six raw maps -> boxes in pixels of the network's input.
//
//   box_pL    (64, h, w)   per side (left, top, right, bottom) 16 bins; the expected bin is the distance in cells
//   class_pL  (N, h, w)    class logits
//
// for L = 3, 4, 5, strides 8, 16, 32. nvinfer applies non-maximum suppression (cluster-mode=2) and undoes the letterbox.
// Untested on hardware; a test compiles it and compares its boxes with the Python decoder's.

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <string>
#include <vector>

#include "nvdsinfer_custom_impl.h"

namespace {

constexpr int kBins = 16;

// A raw map by name, or nullptr with a message: outputs come in any order.
const NvDsInferLayerInfo* find(std::vector<NvDsInferLayerInfo> const& layers, std::string const& name) {
  for (auto const& layer : layers) {
    if (name == layer.layerName && layer.dataType == FLOAT && layer.inferDims.numDims == 3) return &layer;
  }
  std::fprintf(stderr, "edge-yolov9: there is no float output %s (channels, h, w)\n", name.c_str());
  return nullptr;
}

// Expected bin of one side of one cell, softmax weighted; `step` lies between two channels.
float distance(const float* bins, size_t step) {
  float largest = bins[0];
  for (int i = 1; i < kBins; ++i) largest = std::max(largest, bins[i * step]);
  float total = 0, weighted = 0;
  for (int i = 0; i < kBins; ++i) {
    const float weight = std::exp(bins[i * step] - largest);
    total += weight;
    weighted += weight * i;
  }
  return weighted / total;
}

void decode(const NvDsInferLayerInfo& box, const NvDsInferLayerInfo& logits, float stride,
            std::vector<float> const& thresholds, std::vector<NvDsInferObjectDetectionInfo>& found) {
  const size_t classes = logits.inferDims.d[0], rows = logits.inferDims.d[1], columns = logits.inferDims.d[2];
  const size_t cells = rows * columns;
  const float* scores = static_cast<const float*>(logits.buffer);
  const float* bins = static_cast<const float*>(box.buffer);
  for (size_t cell = 0; cell < cells; ++cell) {
    size_t best = 0;
    for (size_t c = 1; c < classes; ++c) {
      if (scores[c * cells + cell] > scores[best * cells + cell]) best = c;
    }
    const float confidence = 1 / (1 + std::exp(-scores[best * cells + cell]));
    if (best >= thresholds.size() || !(confidence > thresholds[best])) continue;
    float side[4];
    for (int s = 0; s < 4; ++s) side[s] = distance(bins + s * kBins * cells + cell, cells);
    const float x = cell % columns + 0.5f, y = cell / columns + 0.5f;
    NvDsInferObjectDetectionInfo object{};
    object.classId = static_cast<unsigned int>(best);
    object.detectionConfidence = confidence;
    object.left = (x - side[0]) * stride;
    object.top = (y - side[1]) * stride;
    object.width = (side[0] + side[2]) * stride;
    object.height = (side[1] + side[3]) * stride;
    if (std::isfinite(object.width) && std::isfinite(object.height)) found.push_back(object);
  }
}

}  // namespace

extern "C" bool NvDsInferParseEdgeYolov9(std::vector<NvDsInferLayerInfo> const& outputLayersInfo,
                                         NvDsInferNetworkInfo const& networkInfo,
                                         NvDsInferParseDetectionParams const& detectionParams,
                                         std::vector<NvDsInferObjectDetectionInfo>& objectList) {
  for (int level = 3; level <= 5; ++level) {
    const std::string name = "p" + std::to_string(level);
    const auto* box = find(outputLayersInfo, "box_" + name);
    const auto* logits = find(outputLayersInfo, "class_" + name);
    if (!box || !logits || box->inferDims.d[0] != 4 * kBins) return false;
    if (box->inferDims.d[1] != logits->inferDims.d[1] || box->inferDims.d[2] != logits->inferDims.d[2]) return false;
    const float stride = static_cast<float>(networkInfo.height) / box->inferDims.d[1];
    decode(*box, *logits, stride, detectionParams.perClassPreclusterThreshold, objectList);
  }
  return true;
}

CHECK_CUSTOM_PARSE_FUNC_PROTOTYPE(NvDsInferParseEdgeYolov9);
