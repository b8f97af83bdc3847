// Every metric, one file each.
export * from "./bert_score.ts";
export * from "./bleu.ts";
export * from "./exact_match.ts";
export * from "./l1.ts";
export * from "./psnr.ts";
export * from "./rouge.ts";
export * from "./ssim.ts";
export * from "./stemmer.ts";
export * from "./token_agreement.ts";
