"""Sentences against a BERT: maximum likelihood first, then the game, by REINFORCE.

The generator is a left-to-right Transformer. For the first part of the run it learns by likelihood; its best state on
held-out texts is where the game starts, and is kept beside the model as its twin, to compare with. In the game it
writes texts, a BERT says how real each of them is, and as no gradient passes through drawn tokens, what is likely is
changed by how much better than expected the text was that came of it (Williams 1992). What is expected is a baseline
learned on the generator's own states; batches are large (de Masson d'Autume et al. 2019, "Training language GANs from
scratch", §3). A little of the likelihood's loss stays in the game, against forgetting.
"""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any

import torch
from rich.markup import escape
from torch import Tensor, nn

from adverb.bert.baselines import BaselineConfig, LeftToRight, save_baseline
from adverb.bert.checkpoint import locate
from adverb.bert.config import BertConfig
from adverb.bert.heads import IGNORED, SequenceClassifier
from adverb.bert.sampling import Alphabet, log_probabilities, write
from adverb.bert.tokenizer import Tokenizer
from adverb.bert.vocabulary_loss import vocabulary_loss
from adverb.data.order import indices_of_batch
from adverb.data.sentences import Sentences, load_sentence_splits
from adverb.errors import UserError
from adverb.gan.losses import LOSSES
from adverb.metrics.curve import verdict
from adverb.objectives.base import Draw, Look, Objective, Phase
from adverb.optim import adamw, lr_factor, set_lr
from adverb.pipelines.batching import pad
from adverb.pipelines.judging.writing import WritingJudge, conclusion
from adverb.pipelines.reader import Reader
from adverb.pipelines.torch_model import TorchModel
from adverb.pipelines.writer import TWIN, Writer
from adverb.schema.text_gan import Discriminator, TextGanModel, TextGanRecipe

LOOK_EVERY = 25  # steps between two looks at held-out texts, while the generator learns by likelihood
HELD_OUT_ROWS = 1000  # of such a look
FEWEST = 10  # texts that can be judged
SHOWN = 16  # texts on a page of samples
VALUE_LR_RATIO = 10.0  # the baseline is one layer, and has to keep up with two players


class TextGan(Objective):
    headline = ("token_loss", "held_out_loss", "d_loss", "reward")
    unit = "texts"
    recipe: TextGanRecipe

    def __init__(self, recipe: TextGanRecipe, context, console):
        self.context, self.console = context, console
        recipe.train.batch_size = recipe.train.batch_size or 128
        self.recipe = recipe
        self.train, self.valid, self.test = load_sentence_splits(recipe.data)
        self.tokenizer = self.make_tokenizer()
        self.tokenizer.max_length = recipe.data.max_length
        self.alphabet = Alphabet.of(self.tokenizer, context.device)
        self.rows, self.valid_rows, self.test_rows = (self.encode(p) for p in (self.train, self.valid, self.test))
        self.typical = sum(map(len, self.rows)) / len(self.rows) - 1  # tokens of a text that are drawn
        torch.manual_seed(recipe.seed)
        self.networks = {name: network.to(context.device) for name, network in self.make_networks().items()}
        generator, discriminator = self.networks["generator"], self.networks["discriminator"]
        self.optimizers = {
            "generator": adamw(generator, recipe.optim),
            "discriminator": adamw(discriminator, recipe.optim),
        }
        value = {"params": list(self.networks["value"].parameters()), "weight_decay": 0.0, "lr_ratio": VALUE_LR_RATIO}
        self.optimizers["generator"].add_param_group(value)
        self.likelihood_phases = [Phase("generator", self.likelihood_loss)]
        self.game_phases = [
            Phase("discriminator", self.discriminator_loss, repeats=recipe.discriminator.steps),
            Phase("generator", self.game_loss),
        ]
        self.phases = self.game_phases  # all that there will be; `schedule` picks
        self.playing = False
        self.best_loss, self.held_out_loss = math.inf, math.inf
        self.units_per_step = recipe.train.batch_size
        self._judge: WritingJudge | None = None

    # -- what is trained on what

    def make_tokenizer(self) -> Tokenizer:
        spec = self.recipe.data
        if spec.tokenizer is not None:
            return Tokenizer.from_pretrained(locate(spec.tokenizer))
        return Tokenizer.train(self.train.texts, spec.vocab_size, spec.lowercase)

    def encode(self, part: Sentences) -> list[list[int]]:
        """Rows of at most data.max_length tokens, special ones included; longer texts are left out, and counted."""
        most = self.recipe.data.max_length
        encoded = [encoding.ids for encoding in self.tokenizer.encode_batch(part.texts)]
        rows = [row for row in encoded if 2 < len(row) <= most]
        if left := len(encoded) - len(rows):
            part.report.notes.append(f"{left:,} texts left out that have more than {most} tokens (data.max_length)")
        if len(rows) < FEWEST:
            raise UserError(
                f"{part.name}: {len(rows)} texts of at most {most} tokens are too few: {FEWEST} are needed to learn "
                "from, to choose by and to measure on (data.max_length, data.valid, data.test)"
            )
        return rows

    def make_networks(self) -> dict[str, nn.Module]:
        """generator, its twin (a copy), the discriminator, and the baseline: a layer on the generator's states."""
        model, other = self.recipe.model, self.recipe.discriminator

        def sizes(spec: TextGanModel | Discriminator) -> dict[str, Any]:
            return {
                "vocab_size": len(self.tokenizer.tokens()),
                "hidden_size": spec.hidden,
                "num_hidden_layers": spec.layers,
                "num_attention_heads": spec.heads,
                "intermediate_size": 4 * spec.hidden,
                "max_position_embeddings": self.recipe.data.max_length,
                "initializer_range": model.initializer_range,
            }

        generator = LeftToRight(BaselineConfig("gpt", **sizes(model), dropout=model.dropout))
        dropout = {"hidden_dropout_prob": other.dropout, "attention_probs_dropout_prob": other.dropout}
        config = BertConfig(**sizes(other), **dropout, pad_token_id=self.tokenizer.pad_id, id2label={0: "real"})
        discriminator = SequenceClassifier(config)
        value = nn.Linear(model.hidden, 1)
        nn.init.zeros_(value.weight)
        nn.init.zeros_(value.bias)
        twin = copy.deepcopy(generator).requires_grad_(False)
        return {"generator": generator, "discriminator": discriminator, "value": value, "twin": twin}

    # -- a training step

    def batch(self, index: int, start: int, stop: int) -> Tensor:
        """Rows [CLS] text [SEP], padded to the longest of them, int64 [N, L]."""
        rows = indices_of_batch(len(self.rows), self.recipe.train.batch_size, self.recipe.seed, index)[start:stop]
        return self.padded([self.rows[i] for i in rows])

    def padded(self, rows: list[list[int]]) -> Tensor:
        return torch.from_numpy(pad(rows, self.tokenizer.pad_id)[0])

    def likelihood_loss(self, batch: Tensor, draw: Draw) -> tuple[Tensor, dict[str, Tensor]]:
        loss = self.token_loss(self.networks["generator"], batch)
        metrics = {"token_loss": loss.detach()}
        if math.isfinite(self.held_out_loss):
            metrics["held_out_loss"] = torch.tensor(self.held_out_loss)
        return loss, metrics

    def token_loss(self, generator: LeftToRight, ids: Tensor) -> Tensor:
        """Mean cross-entropy in nats of every token given those before, the end included; rows int64 [B, L]."""
        ((states, targets),) = generator.predictions(ids)
        targets = targets.masked_fill(targets == self.tokenizer.pad_id, IGNORED)
        return vocabulary_loss(states, generator.word.weight, generator.bias, targets, IGNORED)

    def discriminator_loss(self, batch: Tensor, draw: Draw) -> tuple[Tensor, dict[str, Tensor]]:
        real, fake = self.judged(batch), self.judged(self.written(draw))
        loss = LOSSES["non-saturating"].discriminator(real, fake)
        right = ((real > 0).float().mean() + (fake < 0).float().mean()) / 2
        return loss, {"d_loss": loss.detach(), "d_accuracy": right}

    def game_loss(self, batch: Tensor, draw: Draw) -> tuple[Tensor, dict[str, Tensor]]:
        generator, discriminator, spec = self.networks["generator"], self.networks["discriminator"], self.recipe.loss
        fake = self.written(draw)
        generator.eval()  # without dropout it is the model that wrote
        discriminator.eval()
        with torch.no_grad():
            reward = torch.tanh(self.judged(fake) / 2)  # [B], 2 D(x) - 1 (de Masson d'Autume et al. 2019, eq. 3)
        states = generator.states(fake[:, :-1])  # [B, L - 1, H]
        chosen, drawn = log_probabilities(generator, self.alphabet, fake, states, self.recipe.data.max_length)
        generator.train()
        discriminator.train()
        value = self.networks["value"](states.detach())[..., 0].float()  # [B, L - 1]
        policy, error = reinforce(chosen, drawn, reward, value)
        loss = (policy + spec.value * error) / self.typical
        likelihood = torch.zeros(()) if not spec.likelihood else self.token_loss(generator, batch)
        metrics = {
            "reward": reward.mean(),
            "value_error": error.detach() / self.typical,
            "written_tokens": drawn.sum(1).mean(),
            "token_loss": likelihood.detach(),
        }
        return loss + spec.likelihood * likelihood, metrics

    def written(self, draw: Draw) -> Tensor:
        """Texts of the generator, a row each, int64 [N, L], without a gradient."""
        most = self.recipe.data.max_length
        return write(self.networks["generator"], self.alphabet, draw.rand(most - 2))

    def judged(self, ids: Tensor) -> Tensor:
        """The discriminator's logits, float32 [B]: above 0 for what it takes for real."""
        return self.networks["discriminator"](ids, (ids != self.tokenizer.pad_id).long())[:, 0].float()

    # -- what changes over the run

    def schedule(self, progress: float, step: int) -> None:
        optim, share = self.recipe.optim, self.recipe.loss.pretrain
        if not self.playing and progress >= share:
            self.start_game()
        self.phases = self.game_phases if self.playing else self.likelihood_phases
        if not self.playing:
            set_lr(self.optimizers["generator"], optim.lr * lr_factor(optim, progress / share))
            return
        done = max(0.0, progress - share) / (1 - share)  # warming up, the generator waits for the discriminator
        set_lr(self.optimizers["generator"], optim.game_lr * lr_factor(optim, done))
        set_lr(self.optimizers["discriminator"], self.recipe.discriminator.lr)

    def look(self, progress: float, step: int, broken: bool) -> Look | None:
        if not self.playing and step % LOOK_EVERY == 0:
            self.keep_best()
        return None

    def keep_best(self) -> None:
        """The twin becomes the generator if that is better on held-out texts than it ever was."""
        self.held_out_loss = self.measured_loss(self.networks["generator"], self.valid_rows[:HELD_OUT_ROWS])
        if self.held_out_loss < self.best_loss:
            self.best_loss = self.held_out_loss
            self.networks["twin"].load_state_dict(self.networks["generator"].state_dict())

    def start_game(self) -> None:
        self.keep_best()
        self.networks["generator"].load_state_dict(self.networks["twin"].state_dict())
        self.optimizers["generator"].state.clear()  # its moments are those of other weights, and of another loss
        self.playing = True

    @torch.no_grad()
    def measured_loss(self, generator: nn.Module, rows: list[list[int]]) -> float:
        """Nats a token, without dropout."""
        size, training, total, count = self.recipe.train.batch_size, generator.training, 0.0, 0
        generator.eval()
        for start in range(0, len(rows), size):
            ids = self.padded(rows[start : start + size]).to(self.context.device)
            tokens = int((ids[:, 1:] != self.tokenizer.pad_id).sum())
            total, count = total + self.token_loss(generator, ids).item() * tokens, count + tokens
        generator.train(training)
        return total / count

    # -- judging and keeping

    chooses = True

    @property
    def best(self) -> tuple[str, str] | None:
        """A model is chosen among those of the game: the twin's chance was before."""
        return ("frechet", "min") if self.playing else None

    def prepare(self) -> None:
        self._reader = Reader.load(self.recipe.evaluate.reader).to(self.context.device)
        self._judge = self.judge(self.networks, self.valid)
        self.console.print(f"  [dim]judge[/] {escape(self.judged_by)}", highlight=False)

    def judge(self, networks: dict[str, nn.Module], held_out: Sentences) -> WritingJudge:
        respell = self._writer(networks["generator"]).respell
        samples, seed = self.recipe.evaluate.samples, self.recipe.seed
        return WritingJudge(self._reader, respell(self.train.texts), respell(held_out.texts), samples, seed)

    @property
    def judged_by(self) -> str | None:
        return f"embeddings of {self.recipe.evaluate.reader}, and BLEU of up to 4 words" if self._judge else None

    def evaluate(self, networks: dict[str, nn.Module], folder: Path, step: int, final: bool) -> dict[str, float]:
        writer = self._writer(networks["generator"])
        shown = "\n".join(writer.generate(SHOWN, seed=self.recipe.seed))
        (folder / f"step-{step:07d}.txt").write_text(shown + "\n", encoding="utf-8")
        return {"token_loss": self.measured_loss(networks["generator"], self.valid_rows)} | self._judge(writer)

    def conclude(self, best: Path, folder: Path) -> dict[str, float]:
        writer = Writer.load(best).to(self.context.device)
        writer.twin.to(self.context.device)
        spec = self.recipe.evaluate
        found = conclusion(self.judge(self.networks, self.test), writer, spec.temperatures, spec.repeats)
        self.console.print(verdict(found), highlight=False)
        both = (self.measured_loss(one.model.network, self.test_rows) for one in (writer, writer.twin))
        return dict(zip(("token_loss", "twin_token_loss"), both, strict=True)) | found

    def save(self, networks: dict[str, nn.Module], folder: Path) -> None:
        save_baseline(networks["generator"], self.tokenizer, folder)
        save_baseline(networks["twin"], self.tokenizer, folder / TWIN)

    def _writer(self, generator: nn.Module) -> Writer:
        return Writer(TorchModel(generator), self.tokenizer)

    def state(self) -> dict[str, Any]:
        return {"playing": self.playing, "best_loss": self.best_loss, "held_out_loss": self.held_out_loss}

    def load_state(self, state: dict[str, Any]) -> None:
        self.playing, self.best_loss = state["playing"], state["best_loss"]
        self.held_out_loss = state["held_out_loss"]

    # -- in words

    def plan(self) -> dict[str, str]:
        sets = {"train": self.train, "held out": self.valid, "test": self.test}
        said = {name: "; ".join(part.report.lines()) for name, part in sets.items()}
        spec, model, other = self.recipe, self.recipe.model, self.recipe.discriminator
        share = f"{spec.loss.pretrain:.0%} of the run by likelihood, then the game"
        return said | {
            "task": f"{share}, batch {spec.train.batch_size} × {self.typical + 1:.0f} tokens on average",
            "model": f"left to right, {model.layers} layers × {model.hidden}, vocabulary "
            f"{self.tokenizer.vocab_size:,}, against a BERT of {other.layers} × {other.hidden}",
        }


def reinforce(chosen: Tensor, drawn: Tensor, reward: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
    """(loss whose gradient is, in expectation, that of minus the mean reward; the baseline's squared error), scalars.

    chosen: log p of each token, [B, T], with a gradient. drawn: 1 where a token was drawn, else 0, [B, T]. reward: of
    the text, [B]. value: what is expected at each token of those before it, [B, T], in which the token itself must have
    no part: then its expected product with ∇ log p is 0 (Williams 1992, eq. 5). Both are sums over a text's tokens, and
    means over the texts.
    """
    advantage = (reward[:, None] - value.detach()) * drawn  # [B, T]
    policy = -(advantage * chosen).sum(1).mean()
    error = ((reward[:, None] - value).square() * drawn).sum(1).mean()
    return policy, error
