// The types of onnxruntime-node, which is not installed here: both packages have the same ones.
declare module "onnxruntime-node" {
  export * from "onnxruntime-web";
}
