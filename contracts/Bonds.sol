// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.30;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {ERC20Burnable} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Burnable.sol";
import {IERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {FineOrder, IBonds} from "./interfaces/IBonds.sol";
import {ICollegium} from "./interfaces/ICollegium.sol";
import {Role} from "./interfaces/Types.sol";
import {FineSlot, FineSlots} from "./libraries/FineSlot.sol";
import {FineSplit} from "./libraries/FineSplit.sol";

/// @title Bonds
/// @notice The only contract that holds tokens. Collegium and Refutations order locks and fines; everybody takes out their own.
/// @dev Assumes a plain ERC-20 with `burn`: no fee on transfer, no rebasing, no callbacks. Balances are never read, so donated
///      tokens change nothing. No owner: after `connect` nobody can redirect money.
contract Bonds is IBonds {
    using FineSlots for FineSlot;
    using SafeERC20 for IERC20;

    struct Stake {
        uint104 free;
        uint104 unbonding;
        uint40 withdrawableAt;
    }

    /// @dev One slot. Inactive when `releasableAt` is set.
    struct Lock {
        uint88 amount;
        /// up to which topUp restores a member's lock
        uint88 signed;
        uint40 releasableAt;
        bool exists;
    }

    /// @dev One slot per study: a fine touches both.
    struct Book {
        uint128 burnable;
        uint32 revision;
    }

    /// @dev One slot. The first 56 bits of the evidence hash are enough: who would match them by chance has to have announced
    ///      2^56 digests before the evidence is known, each in a transaction.
    struct Held {
        address challenger;
        uint40 claimableAt;
        bytes7 evidence;
    }

    IERC20 private immutable _token;
    address private immutable _deployer;
    /// @inheritdoc IBonds
    uint40 public immutable UNBONDING_PERIOD;
    /// @inheritdoc IBonds
    uint40 public immutable REWARD_HOLD;

    address private _refutations;
    address private _collegium;

    mapping(address institution => Stake) private _stakes;
    mapping(uint64 studyId => mapping(address institution => mapping(Role role => Lock))) private _locks;
    mapping(uint64 studyId => Book) private _books;
    /// @dev That the key was fined, and what the clients' share of it still owes.
    mapping(bytes32 key => FineSlot) private _fines;
    mapping(bytes32 key => Held) private _held;
    mapping(address account => uint256) private _credits;

    modifier onlyCollegium() {
        if (msg.sender != _collegium) revert BondsOnlyAuthorized(msg.sender);
        _;
    }

    /// @param token_ plain ERC-20 that can be burned
    /// @param unbondingPeriod seconds between unlock and withdraw
    /// @param rewardHold seconds for which an unannounced challenger's reward waits for an earlier announcer
    constructor(address token_, uint40 unbondingPeriod, uint40 rewardHold) {
        if (token_ == address(0)) revert BondsZeroAddress();
        _token = IERC20(token_);
        _deployer = msg.sender;
        UNBONDING_PERIOD = unbondingPeriod;
        REWARD_HOLD = rewardHold;
    }

    /// @inheritdoc IBonds
    function connect(address collegium, address refutations) external {
        if (msg.sender != _deployer) revert BondsOnlyDeployer(msg.sender);
        if (_collegium != address(0)) revert BondsAlreadyConnected();
        if (collegium == address(0) || refutations == address(0)) revert BondsZeroAddress();
        _collegium = collegium;
        _refutations = refutations;
        emit BondsConnected(collegium, refutations);
    }

    // Stake

    /// @inheritdoc IBonds
    function deposit(uint256 amount) external {
        _deposit(msg.sender, amount);
    }

    /// @inheritdoc IBonds
    function depositFor(address institution, uint256 amount) external {
        if (institution == address(0)) revert BondsZeroAddress();
        _deposit(institution, amount);
    }

    /// @inheritdoc IBonds
    function depositWithPermit(address institution, uint256 amount, uint256 deadline, uint8 v, bytes32 r, bytes32 s) external {
        if (institution == address(0)) revert BondsZeroAddress();
        // Anyone may have carried the permit before: what counts is that the allowance is there.
        try IERC20Permit(address(_token)).permit(msg.sender, address(this), amount, deadline, v, r, s) {} catch {
            uint256 allowance = _token.allowance(msg.sender, address(this));
            if (allowance < amount) revert BondsPermitRefused(msg.sender, allowance, amount);
        }
        _deposit(institution, amount);
    }

    /// @inheritdoc IBonds
    function unlock(uint256 amount) external {
        if (amount == 0) revert BondsZeroAmount();
        Stake storage stake = _stakes[msg.sender];
        uint40 withdrawableAt = uint40(block.timestamp) + UNBONDING_PERIOD;
        _takeFree(stake, msg.sender, amount);
        // Cannot truncate: it was free stake.
        stake.unbonding += uint104(amount);
        stake.withdrawableAt = withdrawableAt;
        emit StakeUnlocked(msg.sender, amount, withdrawableAt);
    }

    /// @inheritdoc IBonds
    function withdraw() external {
        Stake storage stake = _stakes[msg.sender];
        uint256 amount = stake.unbonding;
        if (amount == 0) revert BondsNothingToWithdraw(msg.sender);
        if (block.timestamp < stake.withdrawableAt) revert BondsStillUnbonding(msg.sender, stake.withdrawableAt);
        stake.unbonding = 0;
        stake.withdrawableAt = 0;
        emit StakeWithdrawn(msg.sender, amount);
        _token.safeTransfer(msg.sender, amount);
    }

    // Locks

    /// @inheritdoc IBonds
    function topUp(uint64 studyId, uint256 amount) external {
        if (amount == 0) revert BondsZeroAmount();
        Lock storage held = _locks[studyId][msg.sender][Role.Member];
        // Only up to what was signed when joining, and only while the member takes part.
        uint256 room = held.releasableAt != 0 || held.signed <= held.amount ? 0 : held.signed - held.amount;
        if (amount > room) revert BondsTopUpTooLarge(amount, room);
        _takeFree(_stakes[msg.sender], msg.sender, amount);
        uint256 total = held.amount + amount;
        held.amount = uint88(total);
        ++_books[studyId].revision;
        emit StakeLocked(studyId, msg.sender, Role.Member, amount, total);
    }

    /// @inheritdoc IBonds
    function lock(uint64 studyId, address institution, Role role, uint128 amount) external onlyCollegium {
        if (amount > type(uint88).max) revert BondsAmountTooLarge(amount, type(uint88).max);
        // A fine must be able to name the study in its slot.
        if (studyId > FineSlots.MAX_STUDY) revert BondsStudyOutOfRange(studyId);
        Lock storage held = _locks[studyId][institution][role];
        uint256 total = held.amount;
        uint256 missing = amount > total ? amount - total : 0;
        if (missing != 0) {
            _takeFree(_stakes[institution], institution, missing);
            total = amount;
        }
        _locks[studyId][institution][role] = Lock({amount: uint88(total), signed: uint88(amount), releasableAt: 0, exists: true});
        ++_books[studyId].revision;
        emit StakeLocked(studyId, institution, role, missing, total);
    }

    /// @inheritdoc IBonds
    function beginRelease(uint64 studyId, address institution, Role role, uint40 releasableAt) external onlyCollegium {
        if (releasableAt == 0) revert BondsZeroAmount();
        Lock storage held = _locks[studyId][institution][role];
        if (!held.exists) revert BondsLockUnknown(studyId, institution, role);
        // A second call must not bring the money out earlier.
        if (releasableAt < held.releasableAt) releasableAt = held.releasableAt;
        held.releasableAt = releasableAt;
        ++_books[studyId].revision;
        emit LockReleasing(studyId, institution, role, releasableAt);
    }

    /// @inheritdoc IBonds
    function release(uint64 studyId, address institution, Role role) external {
        Lock memory held = _locks[studyId][institution][role];
        if (!held.exists) revert BondsLockUnknown(studyId, institution, role);
        if (held.releasableAt == 0) revert BondsLockActive(studyId, institution, role);
        if (block.timestamp < held.releasableAt) revert BondsLockNotReleasable(studyId, institution, held.releasableAt);
        delete _locks[studyId][institution][role];
        _stakes[institution].free += held.amount;
        ++_books[studyId].revision;
        emit LockReleased(studyId, institution, role, held.amount);
    }

    // Fines

    /// @inheritdoc IBonds
    function fine(FineOrder calldata order) external returns (uint256 paid) {
        if (msg.sender != _refutations && msg.sender != _collegium) revert BondsOnlyAuthorized(msg.sender);
        // One party pays once for one kind of fault in one context.
        bytes32 key = keccak256(abi.encode(order.ctx, order.institution, order.kind));
        if (_fines[key].isUsed()) revert BondsAlreadyFined(key);
        if (order.studyId > FineSlots.MAX_STUDY) revert BondsStudyOutOfRange(order.studyId);

        // A lock that holds less pays what it holds; one in release pays as well.
        Lock storage held = _locks[order.studyId][order.institution][order.role];
        uint256 available = held.amount;
        paid = order.amount < available ? order.amount : available;
        held.amount = uint88(available - paid);

        uint256 clients = FineSplit.countSeats(order.eligible);
        uint256 share = FineSplit.shareOf(paid, clients);
        if (share == 0) clients = 0;
        uint256 reward = order.challenger == address(0) ? 0 : FineSplit.rewardOf(paid);
        uint256 burned = paid - reward - share * clients;
        uint128 eligible = clients == 0 ? 0 : order.eligible;
        _fines[key] = FineSlots.pack(order.studyId, paid, clients, eligible);
        if (paid != 0) {
            Book memory book = _books[order.studyId];
            book.burnable += uint128(burned);
            ++book.revision;
            _books[order.studyId] = book;
        }

        emit Fined(
            order.studyId,
            order.institution,
            key,
            order.kind,
            order.role,
            order.ctx,
            paid,
            burned,
            order.challenger,
            reward,
            share,
            eligible
        );
        if (reward != 0) _reward(key, order.challenger, reward, order.evidenceHash);
    }

    /// @inheritdoc IBonds
    function claimReward(bytes32 key) external {
        Held memory held = _held[key];
        if (held.challenger == address(0)) revert BondsRewardNotHeld(key);
        if (block.timestamp < held.claimableAt) revert BondsRewardNotClaimable(key, held.claimableAt);
        delete _held[key];
        uint256 amount = FineSplit.rewardOf(_fines[key].amount());
        emit RewardClaimed(key, held.challenger, amount);
        _token.safeTransfer(held.challenger, amount);
    }

    /// @inheritdoc IBonds
    function redirectReward(bytes32 key, bytes32 evidenceHash, address announcer) external {
        if (msg.sender != _refutations) revert BondsOnlyAuthorized(msg.sender);
        if (announcer == address(0)) revert BondsZeroAddress();
        Held memory held = _held[key];
        if (held.challenger == address(0) || held.evidence != bytes7(evidenceHash)) revert BondsRewardNotHeld(key);
        delete _held[key];
        uint256 amount = FineSplit.rewardOf(_fines[key].amount());
        _credits[announcer] += amount;
        emit RewardRedirected(key, held.challenger, announcer, amount);
    }

    /// @inheritdoc IBonds
    function claimShare(bytes32 key) external {
        FineSlot fined = _fines[key];
        if (fined.eligible() == 0) revert BondsNotEligible(key, msg.sender);
        (bool seated, uint16 index,) = ICollegium(_collegium).seatOf(fined.studyId(), msg.sender);
        if (!seated || index > 127 || fined.eligible() >> index & 1 == 0) revert BondsNotEligible(key, msg.sender);
        _fines[key] = fined.without(index);
        uint256 amount = FineSplit.shareOf(fined.amount(), fined.clients());
        emit ShareClaimed(key, msg.sender, amount);
        _token.safeTransfer(msg.sender, amount);
    }

    /// @inheritdoc IBonds
    function withdrawCredit() external {
        uint256 amount = _credits[msg.sender];
        if (amount == 0) revert BondsNothingToWithdraw(msg.sender);
        _credits[msg.sender] = 0;
        emit CreditWithdrawn(msg.sender, amount);
        _token.safeTransfer(msg.sender, amount);
    }

    /// @inheritdoc IBonds
    function burnFines(uint64 studyId) external {
        uint256 amount = _books[studyId].burnable;
        if (amount == 0) revert BondsZeroAmount();
        _books[studyId].burnable = 0;
        emit FinesBurned(studyId, amount);
        ERC20Burnable(address(_token)).burn(amount);
    }

    // Views

    /// @inheritdoc IBonds
    function token() external view returns (address) {
        return address(_token);
    }

    /// @inheritdoc IBonds
    function stakeOf(address institution) external view returns (uint256 free, uint256 unbonding, uint40 withdrawableAt) {
        Stake storage stake = _stakes[institution];
        return (stake.free, stake.unbonding, stake.withdrawableAt);
    }

    /// @inheritdoc IBonds
    function lockOf(uint64 studyId, address institution, Role role) external view returns (uint128 amount, uint40 releasableAt) {
        Lock storage held = _locks[studyId][institution][role];
        return (held.amount, held.releasableAt);
    }

    /// @inheritdoc IBonds
    function creditOf(address account) external view returns (uint256) {
        return _credits[account];
    }

    /// @inheritdoc IBonds
    function heldRewardOf(bytes32 key) external view returns (address challenger, uint256 amount, uint40 claimableAt) {
        Held storage held = _held[key];
        challenger = held.challenger;
        if (challenger != address(0)) amount = FineSplit.rewardOf(_fines[key].amount());
        claimableAt = held.claimableAt;
    }

    /// @inheritdoc IBonds
    function sharesOf(bytes32 key) external view returns (uint64 studyId, uint256 share, uint128 unclaimed) {
        FineSlot fined = _fines[key];
        if (fined.isUsed()) studyId = fined.studyId();
        return (studyId, FineSplit.shareOf(fined.amount(), fined.clients()), fined.eligible());
    }

    /// @inheritdoc IBonds
    function isFined(bytes32 key) external view returns (bool) {
        return _fines[key].isUsed();
    }

    /// @inheritdoc IBonds
    function revisionOf(uint64 studyId) external view returns (uint32) {
        return _books[studyId].revision;
    }

    /// @inheritdoc IBonds
    function burnable(uint64 studyId) external view returns (uint256) {
        return _books[studyId].burnable;
    }

    /// @dev Announced evidence pays at once. Otherwise somebody may have copied it from a pending transaction: the reward waits.
    function _reward(bytes32 key, address challenger, uint256 reward, bytes32 evidenceHash) private {
        if (evidenceHash == 0) {
            _credits[challenger] += reward;
            return;
        }
        uint40 claimableAt = uint40(block.timestamp) + REWARD_HOLD;
        _held[key] = Held({challenger: challenger, claimableAt: claimableAt, evidence: bytes7(evidenceHash)});
        emit RewardHeld(key, challenger, reward, evidenceHash, claimableAt);
    }

    function _deposit(address institution, uint256 amount) private {
        if (amount == 0) revert BondsZeroAmount();
        Stake storage stake = _stakes[institution];
        uint256 room = type(uint104).max - stake.free;
        if (amount > room) revert BondsAmountTooLarge(amount, room);
        stake.free += uint104(amount);
        emit StakeDeposited(institution, msg.sender, amount);
        _token.safeTransferFrom(msg.sender, address(this), amount);
    }

    function _takeFree(Stake storage stake, address institution, uint256 amount) private {
        uint256 free = stake.free;
        if (amount > free) revert BondsInsufficientStake(institution, free, amount);
        stake.free = uint104(free - amount);
    }
}
