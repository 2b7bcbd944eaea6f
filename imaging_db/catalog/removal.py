"""The side of a catalog by which datasets, and objects of none, are taken away."""

from __future__ import annotations

from collections.abc import Callable, Collection

from imaging_db.catalog import deletions
from imaging_db.catalog.claims import STALE_AFTER
from imaging_db.catalog.deletions import Deletable, Place
from imaging_db.catalog.transactions import Transactions
from imaging_db.model import Claim, Dataset


class Removal:
    """What `imaging_db.catalog.Catalog` can do beside: delete, reserve what it does not know, hold still."""

    _transactions: Transactions

    def preview_delete(
        self,
        serial: str,
        *,
        token: str,
        stale_after: float = STALE_AFTER,
        evict: str | None = None,
        besides: Collection[str] = frozenset(),
    ) -> Deletable:
        """Return what `begin_delete` would take out of sight; changes nothing and raises as it does.

        ``besides`` are serials that will be deleted before, such as those of children.
        """
        return self._transactions.read(
            lambda connection: deletions.preview(
                connection,
                serial,
                token=token,
                stale_after=stale_after,
                evict=evict,
                besides=besides,
            )
        )

    def begin_delete(
        self,
        serial: str,
        *,
        token: str,
        stale_after: float = STALE_AFTER,
        evict: str | None = None,
        unfinished_only: bool = False,
        shown: Dataset | None = None,
    ) -> tuple[Dataset, Claim]:
        """Take a dataset out of sight; return it, and the claim on its deletion, held by ``token`` alone.

        Its objects may be deleted while the claim is renewed, and `finish_delete` ends it. A pending
        dataset, or a deletion that stopped, is taken over as `claim` does it; the same token may repeat.

        Raises
        ------
        DatasetNotFound
            There is none, or it is not any more what was ``shown``.
        DatasetBusy
            A live run uploads or deletes it; ``owner`` is its token.
        DatasetExists
            It is ready, and ``unfinished_only`` asks for one that is not.
        Conflict
            It is a parent, or shares its objects with another dataset.
        """
        return self._transactions.write(
            lambda connection: deletions.begin(
                connection,
                serial,
                token=token,
                stale_after=stale_after,
                evict=evict,
                unfinished_only=unfinished_only,
                shown=shown,
            )
        )

    def finish_delete(self, claim: Claim, *, with_annotations: bool = False) -> None:
        """Delete the rows of a dataset whose deletion was begun; nothing happens where none are left.

        What people said of it stays, for a dataset that replaces it, unless it goes ``with_annotations``.

        Raises
        ------
        DatasetBusy
            The claim is lost; whoever has the dataset now keeps what is left of it.
        Conflict
            Its deletion was not begun.
        """
        while not self._transactions.write(
            lambda connection: deletions.finish(
                connection, claim, with_annotations=with_annotations
            )
        ):
            pass

    def reserve(
        self,
        place: Place,
        *,
        token: str,
        stale_after: float = STALE_AFTER,
        evict: str | None = None,
    ) -> Claim:
        """Return a claim on a serial that the catalog does not know, as if it were being deleted.

        Nobody can begin to upload there while the claim is renewed, until `finish_delete`.

        Raises
        ------
        DatasetBusy
            A live run uploads or deletes that serial by now; ``owner`` is its token.
        DatasetExists
            The catalog knows it by now.
        Conflict
            There is a dataset whose serial differs only by case.
        """
        return self._transactions.write(
            lambda connection: deletions.reserve(
                connection, place, token=token, stale_after=stale_after, evict=evict
            )
        )

    def while_ready(self, dataset: Dataset, work: Callable[[], None]) -> None:
        """Call ``work`` while a ready dataset can be neither deleted nor replaced.

        ``work`` has to be short, because others wait for the transaction around it, and may be called
        again after that was lost.

        Raises
        ------
        DatasetNotFound
            The dataset is not any more what it was; nothing was called.
        """
        self._transactions.write(
            lambda connection: deletions.while_ready(connection, dataset, work)
        )
