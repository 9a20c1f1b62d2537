"""train."""

import argparse
from pathlib import Path

from egress.cli.common import (
    Commands,
    InputError,
    add_command,
    add_json,
    need,
    positive,
    print_json,
    progress_bar,
    step,
)
from egress.cli.recipe import add_recipe_arguments, run_recipe
from egress.compress import CompressOptions, compress_tensors
from egress.container import open_container
from egress.files import replacing


def add_commands(commands: Commands) -> None:
    """Add the commands of this module."""
    parser = add_command(
        commands,
        "train",
        "train a network under a rate constraint, or find the operating point of a task",
        "Train the perceptron of 115,968 weights on scikit-learn's handwritten digits and write\n"
        "a safetensors checkpoint; with --compressed also the compressed file, whose accuracy is\n"
        "then measured on the decoded weights. For a model of your own, see docs/training.md.\n\n"
        "With --max-loss or --target-bits: train a task's model plainly, then on quantized\n"
        "weights at several steps and ratios, and choose on the validation set; the test set is\n"
        "looked at once, in the end. OUT is then a folder: model.egress.safetensors, report.json,\n"
        "report.svg, and what is needed to go on after a kill.",
        [
            "egress train -o digits.safetensors",
            "egress train --method plain -o plain.safetensors --compressed small.safetensors",
            "egress train digits --max-loss 1pt -o out",
            "egress train tinystories --data FOLDER --max-loss 1% -o out",
            "egress train imdb --data FOLDER --model minilm --target-bits 1.5 -o out",
        ],
    )
    parser.add_argument(
        "task", nargs="?", default="digits", help="digits (default) or a task of egress.tasks"
    )
    parser.add_argument("--method", choices=("backslash", "plain"), default="backslash")
    parser.add_argument(
        "--ratio", type=float, help="mean pull of BackSlash over the learning rate (0.15)"
    )
    parser.add_argument("--lmbda", type=float, help="instead of --ratio, the paper's multiplier")
    parser.add_argument(
        "--rule",
        choices=("decoupled", "printed", "bit-true", "eg-log"),
        help="the authors' rule (default), the paper's printed one, or bits charged",
    )
    parser.add_argument("--steps", type=positive, help="optimizer steps")
    parser.add_argument(
        "--step", type=step, metavar="STEP",
        help="quantizer step (2^-5); where a search begins (2^-4, or 2^-5 from a checkpoint)",
    )  # fmt: skip
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="OUT")
    parser.add_argument("--compressed", type=Path, metavar="FILE", help="compressed file to write")
    add_recipe_arguments(parser)
    add_json(parser)
    parser.set_defaults(run=_train)


def _train(options: argparse.Namespace) -> int:
    if options.max_loss is not None or options.target_bits is not None:
        return run_recipe(options)
    need("torch", "sklearn", "scipy", extra="train")
    if options.task != "digits":
        raise InputError(f"task {options.task}: give --max-loss or --target-bits")
    from safetensors.numpy import save_file

    from egress.train.digits import DigitsConfig, accuracy, train_digits

    given = {
        "ratio": options.ratio,
        "lmbda": options.lmbda,
        "rule": options.rule,
        "steps": options.steps,
        "quantizer_step": options.step,
    }
    try:
        config = DigitsConfig(
            seed=options.seed, **{k: v for k, v in given.items() if v is not None}
        )
        config = config.plain() if options.method == "plain" else config
        with progress_bar(f"training ({options.method})") as bar:
            trained = train_digits(
                config, progress=lambda p: bar(p.step, p.steps, f"loss {p.loss:.3f}")
            )
    except ValueError as error:
        raise InputError(str(error)) from None
    with replacing(options.output) as temporary:
        save_file(trained.state, temporary)
    result = {
        "output": str(options.output),
        "test_accuracy": trained.test_accuracy,
        "entropy_bits": trained.entropy_bits,
        "seconds": trained.seconds,
    }
    if options.compressed:
        coding = CompressOptions(step=config.quantizer_step)
        report = compress_tensors(trained.state, options.compressed, coding)
        with open_container(options.compressed) as container:
            decoded = {name: container.tensor(name) for name in container.names}
        result |= {
            "compressed": str(options.compressed),
            "test_accuracy_decoded": accuracy(decoded, "test"),
            "bits_per_weight": 8
            * sum(entry.bytes_after for entry in report)
            / sum(entry.weights for entry in report),
        }
    if options.json:
        print_json(result)
        return 0
    print(f"{options.output}: test accuracy {trained.test_accuracy:.1%}")
    if options.compressed:
        print(
            f"{options.compressed}: {result['bits_per_weight']:.3f} bits/weight, test accuracy of "
            f"the decoded weights {result['test_accuracy_decoded']:.1%}"
        )
    return 0
