"""TensorBoard: answers as text and pictures, histograms of ranks."""

from __future__ import annotations

from lightning.pytorch.loggers import TensorBoardLogger
from torchvision.transforms.functional import pil_to_tensor

from vse_exp.training.dashboards import Answers, Dashboard


class TensorBoardDashboard(Dashboard, TensorBoardLogger):
    """Lightning's TensorBoardLogger, and what this program has beside numbers."""

    def show_answers(self, answers: Answers, step: int) -> None:
        writer, captions = self.experiment, answers.split.captions
        for number, (image, found) in enumerate(answers.annotation.items()):
            lines = [f"{answer.mark} {captions[answer.row]}" for answer in found]
            writer.add_text(f"answers/annotation/{number}", "\n\n".join(lines), step)
            if answers.picture is not None:
                picture = pil_to_tensor(answers.picture(image).convert("RGB"))
                writer.add_image(f"answers/annotation/{number}", picture, step)
        for number, (caption, found) in enumerate(answers.search.items()):
            lines = [captions[caption], *(f"{one.mark} image {one.row}" for one in found)]
            writer.add_text(f"answers/search/{number}", "\n\n".join(lines), step)
        writer.add_histogram("ranks/annotation", answers.annotation_ranks, step)
        writer.add_histogram("ranks/search", answers.search_ranks, step)
