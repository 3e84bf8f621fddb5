"""The LightningModule: model, loss and optimiser put together, and nothing else."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import torch
from lightning.pytorch import LightningModule
from lightning.pytorch.strategies import SingleDeviceStrategy
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from vse_exp.data.loading import CaptionBatch, ImageBatch, PairBatch
from vse_exp.errors import UserError
from vse_exp.evaluation.protocols import Evaluation
from vse_exp.evaluation.torchmetric import RetrievalMetric
from vse_exp.losses import ContrastiveLoss, encode_in_chunks
from vse_exp.models.checkpoint import KEY, describe
from vse_exp.models.fusemix import FuseMix, mixed_ids
from vse_exp.models.vse import VSE
from vse_exp.optimizers import DenseGradients, LazyAdam, clip_grad_norm
from vse_exp.training.averaging import ExponentialAverage
from vse_exp.training.distributed import gather_ids, whole_loss
from vse_exp.training.finite import FiniteLosses


class RetrievalModule(LightningModule):
    """Trains a VSE model.

    `optimizer(parameter_groups)` and `scheduler(optimizer)` build those (a
    scheduler that has `total_steps` is given that too); `decay_c`
    times the sum of squares of all parameters is added to the loss (the original's weight decay);
    `grad_clip` bounds the norm of all gradients together; `ema` is the decay of an average of the
    weights over the updates, which is then what is evaluated and kept; `chunk_size` is the number
    of pairs encoded at a time where a batch is larger than memory (the gradient is the same);
    with `fusemix` it learns from pairs that are mixed two by two (`FuseMix`).
    """

    def __init__(
        self,
        model: VSE,
        loss: ContrastiveLoss,
        optimizer: Callable[[nn.Module], Optimizer],
        scheduler: Callable[..., LRScheduler | ReduceLROnPlateau] | None = None,
        decay_c: float = 0.0,
        grad_clip: float | None = 2.0,
        ema: float | None = None,
        chunk_size: int | None = None,
        fusemix: float | None = None,
    ) -> None:
        super().__init__()
        if chunk_size is not None and chunk_size < 1:
            raise UserError(f"chunk_size is {chunk_size}: null, or at least 1.")
        if fusemix is not None and (chunk_size is not None or loss.taught):
            other = "teachers" if loss.taught else "chunk_size"
            raise UserError(f"fusemix mixes whole batches of pairs as they are: leave out {other}.")
        self.model = model
        self.loss = loss
        self.loss.use(model.similarity, model.logit)
        self.optimizer_factory = optimizer
        self.scheduler_factory = scheduler
        self.decay_c = decay_c
        self.grad_clip = grad_clip
        self.chunk_size, self.fusemix = chunk_size, fusemix
        self.grad_norm = torch.zeros(())
        self.dense_gradients = DenseGradients()
        self.validated: Evaluation | None = None
        self.tested: Evaluation | None = None
        self.averaged = None if ema is None else ExponentialAverage(model, ema)
        self.finite = FiniteLosses()
        self.metric = RetrievalMetric(similarity=model.similarity)

    @property
    def evaluated_model(self) -> VSE:
        """The model that is evaluated and kept: the average of weights where there is one."""
        return self.model if self.averaged is None else cast(VSE, self.averaged.module)

    def training_step(self, batch: PairBatch, batch_idx: int) -> Tensor:
        # here and not in a hook, since a resumed run begins in mid-epoch
        self.loss.set_progress(self.global_step, self._epochs_done(batch_idx))
        self.model.sentence_encoder.set_epoch(self.current_epoch)
        self.model.image_encoder.set_epoch(self.current_epoch)
        image_ids = batch.image_index
        if self.fusemix is not None:
            self._mix(FuseMix.draw(self.fusemix))
            image_ids = mixed_ids(image_ids)
        images, captions = self.embed_pairs(batch)
        if self.loss.taught:
            self.loss.see(gather_ids(batch.caption_index, batch.total))
        loss = whole_loss(self.loss, images, captions, image_ids, batch.total)
        if self.decay_c:
            trained = [parameter for parameter in self.parameters() if parameter.requires_grad]
            squares = [parameter.square().sum() for parameter in trained]
            loss = loss + self.decay_c * torch.stack(squares).sum()
        self.finite.add(self.current_epoch, batch_idx, loss, batch.caption_index)
        return loss

    def _mix(self, mixing: FuseMix) -> None:
        if self._trainer is not None and self.trainer.world_size > 1:
            raise UserError("fusemix mixes the pairs of one process: train on one device.")
        self.model.sentence_encoder.mix(mixing)
        self.model.image_encoder.mix(mixing)

    def embed_pairs(self, batch: PairBatch) -> tuple[Tensor, Tensor]:
        """Embeddings (B, d) of a training batch's images and captions, as the loss sees them."""
        captions = self._embed(self.model.embed_captions, batch.tokens, batch.lengths)
        images = self._embed(
            partial(self.model.embed_images, normalized=self.model.normalize_images), batch.images
        )
        if batch.image_row is not None:
            images = images.index_select(0, batch.image_row)
        count = len(batch.image_index)  # none where one stands in for an empty share of the batch
        return images[:count], captions[:count]

    def _embed(self, embed: Callable[..., Tensor], *rows: Tensor | None) -> Tensor:
        """All at once, or `chunk_size` of them after the other."""
        size = self.chunk_size
        if size is None:
            return embed(*rows)
        given = [part for part in rows if part is not None]
        chunks = zip(*(part.split(size) for part in given), strict=True)
        return encode_in_chunks(lambda chunk: (embed(*chunk),), chunks)[0]

    def _epochs_done(self, batch_idx: int) -> float:
        if self._trainer is None:  # a step by hand
            return 0.0
        return self.current_epoch + batch_idx / max(1, self.trainer.num_training_batches)

    def configure_gradient_clipping(self, optimizer: Optimizer, *_: Any, **__: Any) -> None:
        scaler = getattr(self.trainer.precision_plugin, "scaler", None)
        if scaler is not None and getattr(optimizer, "_step_supports_amp_scaling", False):
            # Lightning leaves it to a fused optimiser, which would do it after the clipping
            scaler.unscale_(optimizer)
        self.grad_norm = clip_grad_norm(self.parameters(), self.grad_clip)
        if not isinstance(optimizer, LazyAdam):
            self.dense_gradients.replace(self.parameters())

    def optimizer_step(self, *arguments: Any, **options: Any) -> None:
        super().optimizer_step(*arguments, **options)
        # here and not in a later hook, so that validations and checkpoints see this update
        if self.averaged is not None:
            self.averaged.update_parameters(self.model)

    def validation_step(self, batch: ImageBatch | CaptionBatch, *_: Any, **__: Any) -> None:
        self.update_metric(batch)

    test_step = validation_step

    def on_validation_start(self) -> None:
        self.finite.check()

    def on_validation_epoch_end(self) -> None:
        self.validated = self._evaluation("val")

    def on_test_epoch_end(self) -> None:
        self.tested = self._evaluation("test")

    def _evaluation(self, name: str) -> Evaluation:
        """Metrics and ranks of the embeddings collected; the metrics for callbacks and loggers."""
        metrics = self.metric.compute()
        evaluation = self.metric.evaluation
        assert evaluation is not None
        named = {f"{name}/{key}": value for key, value in metrics.items()}
        self.log_dict(named, logger=False)
        for logger in self.trainer.loggers:  # by ourselves, since Lightning rounds to float32
            logger.log_metrics(named, step=self.trainer.global_step)
        self.metric.reset()
        return evaluation

    def update_metric(self, batch: ImageBatch | CaptionBatch) -> None:
        """Add the embeddings of one evaluation batch to `metric`."""
        model = self.evaluated_model
        if isinstance(batch, ImageBatch):
            self.metric.update_images(model.embed_images(batch.images), batch.image_index)
        else:
            captions = model.embed_captions(batch.tokens, batch.lengths)
            self.metric.update_captions(captions, batch.caption_index, batch.image_index)

    def configure_optimizers(self) -> Any:
        optimizer = self.optimizer_factory(self)
        # processes cannot add up sparse gradients, and DDP takes none even with one
        alone = isinstance(self.trainer.strategy, SingleDeviceStrategy)
        on_cpu = self.device.type == "cpu"
        if isinstance(optimizer, LazyAdam) and not (alone and on_cpu):
            raise UserError(
                "optimizer=lazy_adam is for one process on a CPU: several cannot add up its sparse "
                "gradients, and a GPU would wait to know their rows; choose optimizer=adam or "
                "adamw, or trainer=default with trainer.accelerator=cpu."
            )
        if alone and on_cpu:
            for table in self.model.sentence_encoder.sparse_tables():
                table.sparse = True
        if self.scheduler_factory is None:
            return optimizer
        # by name and only where it is wanted, so that torch's own schedules fit too
        takes = inspect.signature(self.scheduler_factory).parameters
        given = getattr(self.scheduler_factory, "keywords", {})
        options = {}
        if "total_steps" in takes and given.get("total_steps") is None:
            options["total_steps"] = int(self.trainer.estimated_stepping_batches)
        scheduler = self.scheduler_factory(optimizer, **options)
        config: dict[str, Any] = {"scheduler": scheduler, "interval": "step"}
        if isinstance(scheduler, ReduceLROnPlateau):
            if scheduler.mode != "max":
                raise UserError(
                    "scheduler.mode must be max: ReduceLROnPlateau is told each validation's rsum."
                )
            # which Lightning knows only by the number of the batch in its epoch
            config |= {"monitor": "val/rsum", "frequency": sys.maxsize}
        return {"optimizer": optimizer, "lr_scheduler": config}

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.finite.check()
        checkpoint[KEY] = describe(self.model)
