"""The CSV work in Vowpal Wabbit: its own CSV reader, its cache for the passes after the first, its saved model.

It steps after each row, and tells a progressive loss. It gets a copy of the file whose target is -1 and 1 and named
`_label`, as it wants it; the copy is made beforehand. Variants: `adaptive`, its default, and `sgd`.
"""

import vowpalwabbit

from common import answer, arguments


def main():
    options = arguments(__doc__)
    arguments_of_variant = {"adaptive": [], "sgd": ["--sgd"]}[options.variant]
    cache = options.data / "vw.cache"
    vw = vowpalwabbit.Workspace(
        arg_list=["--data", str(options.data / "big_vw.csv"), "--csv", "--loss_function", "logistic", "--holdout_off",
                  "--passes", str(options.settings["epochs"]), "--cache_file", str(cache), "--kill_cache",
                  "--final_regressor", str(options.data / "vw_model.vw"), "--bit_precision", "10", "--quiet",
                  *arguments_of_variant]
    )  # fmt: skip
    vw.finish()
    answer(vw.get_sum_loss() / vw.get_weighted_examples())
    cache.unlink()


if __name__ == "__main__":
    main()
