/* Rows as in methods.c, of systems that change a net while it learns. */
#include "artefacts/model/model.h"

#define SAME_TITLE(text) .title = text, .paper = text

const pith_method model_methods_trained[] = {
    {
        .name = "to-prune-or-not",
        SAME_TITLE("To prune, or not to prune: exploring the efficacy of pruning for model compression"),
        .systems = "S291",
        .artefact = "model",
        .categories = PITH_PRUNING,
        .status = "works",
        .claim = "a wide net of which ever more becomes zero while it learns codes better than a dense one of as many "
                 "nonzeros; the places of the nonzeros counted too",
        .check = "pith bench gradual; pith bench gradual --steps=1500",
        .result = "2026-11-22: only after long training: at 400 steps refuted everywhere. At 1500 steps (of 1024 "
                  "bytes), zeros in the layers alone: 1.978, 2.030, 2.177 bits a byte at 50, 75, 87.5 % against "
                  "2.003, 2.094, 2.184 of dense nets of as many nonzeros; of as many bytes (16-bit values, bitmap) "
                  "1.993, 2.063, 2.131, the last refuted; dense is as good again with values below 6 and 7 bits. With "
                  "embeddings (tied) pruned too 2.013 at 50 % against 2.017, by bytes 2.004: refuted; at 75 and 87.5 "
                  "% worse. Rates and the spread of first weights were chosen on dense nets",
    },
    {
        .name = "compressed-experts",
        SAME_TITLE("Efficiently Editing Mixture-of-Experts Models with Compressed Experts"),
        .systems = "S161",
        .artefact = "model",
        .categories = PITH_PRUNING,
        .status = "works",
        .claim = "vectors in the place of the second expert win back half of what the best alone loses, for less time and "
                 "fewer weights",
        .check = "pith bench experts-as-vectors",
        .result = "2026-11-22: refuted: of 0.045 nats lost (1.7554, 1.7108 a byte; a mixture of bytes trained as one) "
                  "27 % come back by vectors at what the best reads, 28 % at what it gives; but vectors of the best "
                  "itself, a control, bring 28 %. With the router as it is 41 and 35 %. 70 % of the weights, about 82 "
                  "% of the time of a token. In the same order, by --make=300 --steps=60 -4, 6, 7, 17, the control 4 "
                  "%; by --make=1000 --steps=500 (0.028 lost) 5, 47, 5, 28 %; split pith-mini, 40 steps, vectors at "
                  "the common rate, -51 and -48 %. Their rate, 50 times the others', was chosen after looks at 1 and "
                  "10",
    },
    {.name = NULL},
};
